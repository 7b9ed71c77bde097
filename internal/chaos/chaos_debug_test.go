// SPDX-License-Identifier: MIT

//go:build kcpdebug

package chaos

import "github.com/seedkcp/kcp"

func buffersOutstanding() int64 { return kcp.DebugBuffersOutstanding() }
