// SPDX-License-Identifier: MIT

//go:build !race

package kcp

const raceDetector = false
