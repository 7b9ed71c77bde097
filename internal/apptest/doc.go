// SPDX-License-Identifier: MIT

// Package apptest runs programs and libraries of others over sessions. It is a module of its own,
// so that what it depends on is no dependency of the library.
package apptest
