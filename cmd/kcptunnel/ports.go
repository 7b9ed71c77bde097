// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// ports is a host with a range of ports, which may be a single one.
type ports struct {
	host     string
	min, max int
}

// parsePorts parses "host:port" and "host:min-max". The host may be empty.
func parsePorts(addr string) (ports, error) {
	host, service, err := net.SplitHostPort(addr)
	if err != nil {
		return ports{}, fmt.Errorf("%q: want HOST:PORT or HOST:MIN-MAX", addr)
	}
	first, last, isRange := strings.Cut(service, "-")
	if !isRange {
		last = first
	}
	low, err := strconv.ParseUint(first, 10, 16)
	if err != nil {
		return ports{}, fmt.Errorf("%q: %q is no port from 0 to 65535", addr, first)
	}
	high, err := strconv.ParseUint(last, 10, 16)
	if err != nil {
		return ports{}, fmt.Errorf("%q: %q is no port from 0 to 65535", addr, last)
	}
	if low > high || isRange && low == 0 {
		return ports{}, fmt.Errorf("%q: want a range from a port to a higher one", addr)
	}
	return ports{host, int(low), int(high)}, nil
}

// pick returns the address of a random port of the range.
func (p ports) pick() string { return p.at(p.pickPort()) }

func (p ports) pickPort() int { return p.min + rand.IntN(p.max-p.min+1) }

func (p ports) at(port int) string { return net.JoinHostPort(p.host, strconv.Itoa(port)) }

// all returns the addresses of all ports of the range.
func (p ports) all() []string {
	var addrs []string
	for port := p.min; port <= p.max; port++ {
		addrs = append(addrs, p.at(port))
	}
	return addrs
}

// network returns "tcp" for an address with a port, and "unix" for a path.
func network(addr string) string {
	if _, _, err := net.SplitHostPort(addr); err != nil {
		return "unix"
	}
	return "tcp"
}

// dialTimeout limits how long the connection to a target takes.
const dialTimeout = 10 * time.Second

// dialTarget connects to the service.
func dialTarget(ctx context.Context, addr string) (net.Conn, error) {
	d := net.Dialer{Timeout: dialTimeout}
	return d.DialContext(ctx, network(addr), addr)
}

// listenLocal listens for connections on a TCP address or on a Unix socket. A socket that a dead
// process has left is replaced.
func listenLocal(ctx context.Context, addr string) (net.Listener, error) {
	var c net.ListenConfig
	l, err := c.Listen(ctx, network(addr), addr)
	if err == nil || network(addr) != "unix" {
		return l, err
	}
	info, statErr := os.Lstat(addr)
	if statErr != nil || info.Mode().Type() != os.ModeSocket {
		return nil, err
	}
	if conn, dialErr := net.Dial("unix", addr); dialErr == nil {
		_ = conn.Close()
		return nil, err
	} else if !errors.Is(dialErr, syscall.ECONNREFUSED) {
		return nil, err
	}
	if os.Remove(addr) != nil {
		return nil, err
	}
	return c.Listen(ctx, "unix", addr)
}
