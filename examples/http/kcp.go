// SPDX-License-Identifier: MIT

package main

import (
	"github.com/seedkcp/kcp"
	"github.com/seedkcp/kcp/examples/internal/keyfile"
)

// config is for HTTP, which is a stream. WaitPeer lets a dial fail, as HTTP clients expect it, when nobody is there. Long
// downloads go through the send window.
func (o *options) config() (*kcp.Config, error) {
	block, err := keyfile.Load(o.key)
	if err != nil {
		return nil, err
	}
	return &kcp.Config{
		BlockCrypt: block, StreamMode: true, WaitPeer: true,
		NoDelay: true, FastResend: 2, NoCongestionControl: true,
		SendWindow: 1024, ReceiveWindow: 1024,
	}, nil
}
