// SPDX-License-Identifier: MIT

// Http runs net/http over KCP: a kcp.Listener is all that an http.Server
// needs, and a DialContext all that an http.Client does.
//
// Alone it is both, in one process over loopback, and prints how fast bytes
// went up and down:
//
//	go run ./examples/http
//
// Over two machines:
//
//	go run ./examples/http -listen :4000
//	go run ./examples/http -dial server.example:4000 -size 16
//
// With -key FILE packets are encrypted and authenticated under a key that both
// ends have. For certificates, wrap the listener with tls.NewListener and use
// https URLs: a session is a net.Conn like any other.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"time"

	"github.com/seedkcp/kcp/examples/internal/cli"
	"github.com/seedkcp/kcp/examples/internal/keyfile"
)

type options struct {
	listen, dial string
	size         int
	key          string
	timeout      time.Duration
}

func main() { cli.Main(run) }

// run is the whole program. It returns the exit status: 0 for success, 1 when
// something failed, 2 for a wrong command line.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	opts, err := parseOptions(args, stderr)
	if err != nil {
		return cli.Status("http", stderr, err)
	}
	return cli.Status("http", stderr, perform(ctx, opts, stdout))
}

func parseOptions(args []string, stderr io.Writer) (*options, error) {
	opts := new(options)
	flags := flag.NewFlagSet("http", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&opts.listen, "listen", "", "only serve, on this UDP `address`, until interrupted")
	flags.StringVar(&opts.dial, "dial", "", "only be the client of the server at this UDP `address`")
	flags.IntVar(&opts.size, "size", 16, "`MiB` to send each way")
	flags.StringVar(&opts.key, keyfile.Flag, "", keyfile.Usage)
	flags.DurationVar(&opts.timeout, "timeout", time.Minute, "the most `time` that one request takes")
	err := cli.Parse(flags, args, func() string {
		switch {
		case flags.NArg() > 0:
			return fmt.Sprintf("unexpected argument %q", flags.Arg(0))
		case opts.listen != "" && opts.dial != "":
			return "-listen and -dial exclude each other"
		case opts.size < 0 || opts.size > maxMebi:
			return fmt.Sprintf("-size must be from 0 to %d MiB", maxMebi)
		case opts.timeout <= 0:
			return "-timeout must be above 0"
		}
		return ""
	})
	return opts, err
}

func perform(ctx context.Context, opts *options, stdout io.Writer) error {
	config, err := opts.config()
	if err != nil {
		return err
	}
	if opts.dial != "" {
		return exchange(ctx, config, opts.dial, opts, stdout)
	}
	addr := opts.listen
	if addr == "" {
		addr = "127.0.0.1:0"
	}
	listener, err := config.Listen(ctx, addr)
	if err != nil {
		return err
	}
	if opts.listen != "" {
		fmt.Fprintf(stdout, "serving on %v, stop it with Ctrl-C\n", listener.Addr())
		return serve(ctx, listener, opts.timeout)
	}

	serving, stop := context.WithCancel(ctx)
	served := make(chan error, 1)
	go func() { served <- serve(serving, listener, opts.timeout) }()
	err = exchange(ctx, config, listener.Addr().String(), opts, stdout)
	stop()
	return errors.Join(err, <-served)
}
