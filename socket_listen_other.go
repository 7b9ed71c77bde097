// SPDX-License-Identifier: MIT

//go:build !linux

package kcp

import "errors"

// socketsPerPort is one: elsewhere the last socket on a port takes all datagrams, or sharing means something else.
const socketsPerPort = 1

func reusePort(uintptr) error { return errors.ErrUnsupported }
