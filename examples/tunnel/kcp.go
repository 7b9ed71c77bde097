// SPDX-License-Identifier: MIT

package main

import (
	"time"

	"github.com/seedkcp/kcp"
)

// config returns settings for a tunnel, which carries streams whose interactive traffic should not
// wait.
func (o *options) config() (*kcp.Config, error) {
	block, err := newCipher(o.cipher, o.key)
	if err != nil {
		return nil, err
	}
	return &kcp.Config{
		BlockCrypt: block,
		DataShards: o.data, ParityShards: o.parity,
		MTU: o.mtu, SendWindow: o.window, ReceiveWindow: o.window,
		StreamMode: true,
		NoDelay:    true, Interval: 10 * time.Millisecond, FastResend: 2,
		CongestionControl: kcp.CongestionControl(o.congestion), Bandwidth: o.bandwidth,
		// A silent session is probed from time to time, so that a NAT keeps it and a peer that
		// ended is detected.
		KeepAlive: 20 * time.Second, DeadTimeout: o.timeout,
	}, nil
}
