// SPDX-License-Identifier: MIT

// Package chaos holds the tests that run whole sessions over the simulated network. They stand
// apart from the library's own tests so that a program that replaces another module by this one
// need not resolve the simulator's import path.
package chaos
