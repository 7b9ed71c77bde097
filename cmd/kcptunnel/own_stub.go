// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"errors"
	"log/slog"
)

var errNoOwn = errors.New("this build has the mode of the archived tunnel alone: give -compat")

func newOwnDialer(*settings, *slog.Logger) (dialer, error) { return nil, errNoOwn }

func serveOwn(context.Context, *settings, *slog.Logger, func(stream)) error { return errNoOwn }
