// SPDX-License-Identifier: MIT

// Package soak holds a test that runs sessions over real sockets for as long as -soak says, through
// relays that lose, repeat, reorder, corrupt and withhold datagrams, beside an attacker without the
// key. Every byte is checked, and memory, goroutines and descriptors must not grow.
package soak
