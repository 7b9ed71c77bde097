// SPDX-License-Identifier: MIT

//go:build kcp

package main

import (
	"github.com/smallnest/rpcx/server"
	kcp "github.com/xtaci/kcp-go"
)

// withCipher lets a server listen on the transport, which demands a cipher.
func withCipher(block kcp.BlockCrypt) (server.OptionFn, error) {
	return server.WithBlockCrypt(block), nil
}
