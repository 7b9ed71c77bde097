// SPDX-License-Identifier: MIT

//go:build !linux && !darwin && !freebsd

package kcp

import "net/netip"

// On this system the kernel chooses the source address of answers.

func (socketOptions) reset(uintptr) {}

func askDestination(uintptr, *socketOptions) bool { return false }

func parseDestination([]byte) netip.Addr { return netip.Addr{} }

func appendSource(b []byte, _ netip.Addr) []byte { return b }

func refusesSource(error) bool { return false }
