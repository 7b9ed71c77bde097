// SPDX-License-Identifier: MIT

//go:build race

package kcp

// raceDetector reports whether the race detector is on. Large tests are smaller then.
const raceDetector = true
