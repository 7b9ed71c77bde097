// SPDX-License-Identifier: MIT

// Package apptest runs programs and libraries of others over sessions that lose packets, and prints
// what they make of it. It is a module of its own, so that what it depends on is no dependency of the
// library.
//
//	go test -v -run Programs .
//
// docs/programs.md has the table.
package apptest
