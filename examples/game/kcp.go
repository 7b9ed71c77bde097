// SPDX-License-Identifier: MIT

package main

import (
	"time"

	"github.com/seedkcp/kcp"
	"github.com/seedkcp/kcp/examples/internal/keyfile"
)

// config returns settings for little data with low latency: message mode and short timeouts.
// Congestion control does not delay ten packets in a round trip. Parity is in groups of one packet, which wait for no other packet.
func (o *options) config() (*kcp.Config, error) {
	block, err := keyfile.Load(o.key)
	if err != nil {
		return nil, err
	}
	config := &kcp.Config{
		BlockCrypt: block,
		NoDelay:    true, Interval: 10 * time.Millisecond, FastResend: 2,
		IdleTimeout: 10 * time.Second,
	}
	if o.parity > 0 {
		config.DataShards, config.ParityShards = 1, o.parity
	}
	return config, nil
}
