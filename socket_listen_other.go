// SPDX-License-Identifier: MIT

//go:build !linux

package kcp

import "errors"

// socketsPerPort is one: on other systems the last socket on a port receives all datagrams, or
// sharing means something else.
const socketsPerPort = 1

func reusePort(uintptr) error { return errors.ErrUnsupported }
