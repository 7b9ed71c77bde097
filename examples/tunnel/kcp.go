// SPDX-License-Identifier: MIT

package main

import (
	"time"

	"github.com/seedkcp/kcp"
)

// config is that of a tunnel: it carries streams, and what is interactive in
// them should not wait.
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
		NoDelay:    true, Interval: 10 * time.Millisecond, FastResend: 2, NoCongestionControl: !o.congestion,
		// A silent line is asked now and then, so that a NAT on the way keeps
		// it and the end of a peer is noticed.
		KeepAlive: 20 * time.Second, DeadTimeout: o.timeout,
	}, nil
}
