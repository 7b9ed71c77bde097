// SPDX-License-Identifier: MIT

//go:build race

package kcp

// raceDetector: large tests are smaller under it.
const raceDetector = true
