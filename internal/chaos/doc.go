// SPDX-License-Identifier: MIT

// Package chaos holds the tests that run whole sessions over the simulated network. They are
// separate from the library's own tests. So a program that replaces another module by this one need
// not resolve the simulator's import path.
package chaos
