// SPDX-License-Identifier: MIT

//go:build race

package main

// raceEnabled is true if the race detector is on. It comes with checks of pointer arithmetic that
// package qpp does not pass.
const raceEnabled = true
