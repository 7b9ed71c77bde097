// SPDX-License-Identifier: MIT

//go:build !linux

package main

import (
	"context"
	"errors"
	"io"
	"net"
)

var errNoLines = errors.New("-lossy needs Linux: a network namespace and TUN devices")

func enterNetwork(io.Writer, io.Writer) (inside bool, err error) { return false, errNoLines }

func openLine(context.Context, lineSettings) (path, error) { return path{}, errNoLines }

func setCongestionControl(*net.TCPConn, string) error { return errNoLines }
