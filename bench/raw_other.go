// SPDX-License-Identifier: MIT

//go:build !linux

package main

import "net"

var rawKinds = []rawKind{rawPlain}

// receiveRoom returns how many full datagrams surely fit a socket's receive
// buffer.
func receiveRoom(*net.UDPConn) int { return 2 * rawBatch }
