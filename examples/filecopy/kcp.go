// SPDX-License-Identifier: MIT

package main

import (
	"github.com/seedkcp/kcp"
	"github.com/seedkcp/kcp/examples/internal/keyfile"
)

// config returns settings for bulk transfer. The congestion control of the default fills a lossy
// line, and shares it with others.
func (o *options) config() (*kcp.Config, error) {
	block, err := keyfile.Load(o.key)
	if err != nil {
		return nil, err
	}
	return &kcp.Config{
		BlockCrypt:    block,
		StreamMode:    true,
		NoDelay:       true,
		FastResend:    2,
		SendWindow:    1024,
		ReceiveWindow: 1024,
		WaitPeer:      true,
	}, nil
}
