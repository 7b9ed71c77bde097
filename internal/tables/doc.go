// SPDX-License-Identifier: MIT

// Package tables measures what the settings of a session come to on networks of several lengths and losses, and writes
// docs/tables.md and docs/tables.svg:
//
//	go test ./internal/tables -write
//
// Without -write it measures a few of the cells and checks them. It is a test because virtual time exists in tests alone
// (testing/synctest), and it is part of the library's own module, not of a nested one, because it needs nothing but the
// simulated network, which lies in internal, and the standard library.
package tables
