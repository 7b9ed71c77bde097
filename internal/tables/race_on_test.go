// SPDX-License-Identifier: MIT

//go:build race

package tables

// raceDetector is true where a measurement takes ten times as long.
const raceDetector = true
