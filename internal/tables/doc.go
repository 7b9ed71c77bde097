// SPDX-License-Identifier: MIT

// Package tables measures the settings of a session on networks of several lengths and losses, and
// writes docs/tables.md and docs/tables.svg:
//
//	go test ./internal/tables -write
//
// Without -write it measures a few of the cells and checks them. It is a test because only tests
// have virtual time (testing/synctest). It is part of the library's own module, because it needs
// only the simulated network in internal and the standard library.
package tables
