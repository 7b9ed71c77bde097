// SPDX-License-Identifier: MIT

package main

import (
	"github.com/seedkcp/kcp"
	"github.com/seedkcp/kcp/examples/internal/keyfile"
)

// config returns settings for HTTP, which is a stream. With WaitPeer a dial fails if there is no
// server, as HTTP clients expect. Long downloads need the send window.
func (o *options) config() (*kcp.Config, error) {
	block, err := keyfile.Load(o.key)
	if err != nil {
		return nil, err
	}
	return &kcp.Config{
		BlockCrypt: block, StreamMode: true, WaitPeer: true,
		NoDelay: true, FastResend: 2,
		SendWindow: 1024, ReceiveWindow: 1024,
	}, nil
}
