// SPDX-License-Identifier: MIT

//go:build !race

package tables

const raceDetector = false
