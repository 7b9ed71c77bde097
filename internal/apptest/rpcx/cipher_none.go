// SPDX-License-Identifier: MIT

//go:build !kcp

package main

import (
	"errors"

	"github.com/smallnest/rpcx/server"
	kcp "github.com/xtaci/kcp-go"
)

// withCipher returns an error: rpcx has the transport only with its build tag.
func withCipher(kcp.BlockCrypt) (server.OptionFn, error) {
	return nil, errors.New("this program needs -tags kcp")
}
