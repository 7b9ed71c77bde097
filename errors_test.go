// SPDX-License-Identifier: MIT

//go:build !plan9

package kcp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"

	pkgerrors "github.com/pkg/errors"
)

func TestErrorsMatchTheStandardOnes(t *testing.T) {
	standard := map[string]error{
		"os.ErrDeadlineExceeded": os.ErrDeadlineExceeded,
		"net.ErrClosed":          net.ErrClosed,
		"io.ErrClosedPipe":       io.ErrClosedPipe,
		"syscall.ECONNRESET":     syscall.ECONNRESET,
		"syscall.ETIMEDOUT":      syscall.ETIMEDOUT,
		"errors.ErrUnsupported":  errors.ErrUnsupported,
		"os.ErrInvalid":          os.ErrInvalid,
		"io.EOF":                 io.EOF,
		"context canceled":       context.Canceled,
	}
	for _, tt := range []struct {
		name    string
		err     error
		timeout bool
		matches []string
	}{
		{"timeout", errTimeout, true, []string{"os.ErrDeadlineExceeded"}},
		{"closed", errClosed, false, []string{"net.ErrClosed", "io.ErrClosedPipe"}},
		{"reset", errReset, false, []string{"syscall.ECONNRESET"}},
		{"peer dead", errPeerDead, false, []string{"syscall.ETIMEDOUT"}},
		{"not owner", errNotOwner, false, []string{"errors.ErrUnsupported"}},
	} {
		want := make(map[string]bool)
		for _, name := range tt.matches {
			want[name] = true
		}
		for name, target := range standard {
			for how, err := range map[string]error{
				"plain": tt.err, "wrapped": fmt.Errorf("read: %w", tt.err),
			} {
				if got := errors.Is(err, target); got != want[name] {
					t.Errorf("%s, %s: matches %s: got %v, want %v",
						tt.name, how, name, got, want[name])
				}
			}
		}
		netErr, ok := tt.err.(net.Error)
		if !ok {
			t.Errorf("%s is no net.Error", tt.name)
			continue
		}
		if netErr.Timeout() != tt.timeout {
			t.Errorf("%s: Timeout: got %v, want %v", tt.name, netErr.Timeout(), tt.timeout)
		}
		if got := os.IsTimeout(tt.err); got != tt.timeout {
			t.Errorf("%s: os.IsTimeout: got %v, want %v", tt.name, got, tt.timeout)
		}
		if got := tt.err.Error(); !strings.HasPrefix(got, "kcp: ") {
			t.Errorf("%s: got text %q, want it to name the package", tt.name, got)
		}
	}
}

func TestErrorsUnwrapToTheSystemsNumbers(t *testing.T) {
	for _, tt := range []struct{ err, want error }{
		{errReset, syscall.ECONNRESET},
		{errPeerDead, syscall.ETIMEDOUT},
	} {
		var errno syscall.Errno
		if !errors.As(tt.err, &errno) || errno != tt.want {
			t.Errorf("%v: got %v, want %v", tt.err, errno, tt.want)
		}
		// The net.Error that a program finds must be the one with the right Timeout, not the
		// errno's.
		var netErr net.Error
		if !errors.As(fmt.Errorf("write: %w", tt.err), &netErr) || netErr.Timeout() {
			t.Errorf("%v: as a net.Error in a wrapper: got %v, a timeout", tt.err, netErr)
		}
	}
}

func TestBadArgumentIsNamed(t *testing.T) {
	err := badArgument("MTU", 20, "50 to 1500")
	if got, want := err.Error(), "kcp: invalid MTU 20: want 50 to 1500"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if !errors.Is(err, os.ErrInvalid) {
		t.Error("does not match os.ErrInvalid")
	}
	var arg *argumentError
	if !errors.As(fmt.Errorf("listen: %w", err), &arg) || arg.name != "MTU" {
		t.Errorf("got %+v, want the argument's name MTU", arg)
	}
}

// Programs written before errors.Is use Cause.
func TestCauseOfUseAfterCloseIsErrClosedPipe(t *testing.T) {
	for _, err := range []error{errClosed, errSocketClosed} {
		if got := pkgerrors.Cause(pkgerrors.WithStack(err)); got != io.ErrClosedPipe {
			t.Errorf("the cause of %q is %v", err, got)
		}
	}
	if got := pkgerrors.Cause(pkgerrors.WithStack(errTimeout)); got != errTimeout {
		t.Errorf("the cause of a timeout is %v", got)
	}
	for _, err := range []error{errNotOwner, errNoOption} {
		if !strings.Contains(err.Error(), "invalid operation") ||
			!errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("%q does not name the error", err)
		}
	}
}
