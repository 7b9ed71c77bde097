// SPDX-License-Identifier: MIT

//go:build !unix && !windows

package kcp

import "errors"

func setTrafficClass(uintptr, int) error { return errors.ErrUnsupported }

func bufferSizes(uintptr) (rcv, snd int, err error) { return 0, 0, errors.ErrUnsupported }
