// SPDX-License-Identifier: MIT

package main

import (
	"github.com/seedkcp/kcp"
	"github.com/seedkcp/kcp/examples/internal/keyfile"
)

// config returns settings for bulk transfer. Without a congestion window a session gets its share
// of a lossy line, and more than its share of a busy one. Leave NoCongestionControl out if others
// need the line too.
func (o *options) config() (*kcp.Config, error) {
	block, err := keyfile.Load(o.key)
	if err != nil {
		return nil, err
	}
	return &kcp.Config{
		BlockCrypt:          block,
		StreamMode:          true,
		NoDelay:             true,
		FastResend:          2,
		NoCongestionControl: true,
		SendWindow:          1024,
		ReceiveWindow:       1024,
		WaitPeer:            true,
	}, nil
}
