// SPDX-License-Identifier: MIT

package main

import (
	"bytes"
	"fmt"
	"io"
	"time"

	"github.com/seedkcp/kcp"
	"github.com/seedkcp/kcp/examples/internal/progress"
)

// result is what a transfer came to.
type result struct {
	size      int64
	total     time.Duration // from the first Write to the last Read
	out, back time.Duration // each direction alone
	stats     kcp.Stats
	sentSum   []byte // SHA-256 of what left
	sum       []byte // SHA-256 of what came back
}

// print writes the result, and returns an error if what came back is not what
// was sent.
func (r *result) print(w io.Writer) error {
	fmt.Fprintf(w, "there and back in %.2f s\n", r.total.Seconds())
	fmt.Fprintf(w, "  throughput  %.1f MB/s out, %.1f MB/s back\n",
		progress.Rate(r.size, r.out), progress.Rate(r.size, r.back))
	fmt.Fprintf(w, "  RTT         %s smoothed, %s variation, %s smallest\n",
		formatRTT(r.stats.SRTT), formatRTT(r.stats.RTTVar), formatRTT(r.stats.MinRTT))
	fmt.Fprintf(w, "  segments    %d sent, of them %d again: %d fast, %d early, %d by timeout\n",
		r.stats.SegmentsSent, retransmits(r.stats),
		r.stats.FastRetransmits, r.stats.EarlyRetransmits, r.stats.TimeoutRetransmits)
	if !bytes.Equal(r.sum, r.sentSum) {
		return fmt.Errorf("SHA-256 differs: sent %x, received %x", r.sentSum, r.sum)
	}
	fmt.Fprintf(w, "  SHA-256     %x, the same both ways\n", r.sum)
	return nil
}

// formatRTT allows for the protocol's clock, which counts milliseconds.
func formatRTT(d time.Duration) string {
	if d < time.Millisecond {
		return "<1ms"
	}
	return d.Round(time.Millisecond).String()
}
