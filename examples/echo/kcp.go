// SPDX-License-Identifier: MIT

package main

import "github.com/seedkcp/kcp"

// tune sets both ends up for throughput: a stream, fast retransmission, congestion control that takes
// more of the path than it leaves to others, and windows of 1024 segments.
func tune(sess *kcp.UDPSession) {
	sess.SetStreamMode(true)
	sess.SetNoDelay(1, 10, 2, 1)
	sess.SetWindowSize(1024, 1024)
}
