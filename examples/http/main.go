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
	"os"
	"os/signal"
	"time"

	"github.com/seedkcp/kcp"
	"github.com/seedkcp/kcp/examples/internal/keyfile"
)

type options struct {
	listen, dial string
	size         int
	key          string
	timeout      time.Duration
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	status := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(status)
}

// run is the whole program. It returns the exit status: 0 for success, 1 when
// something failed, 2 for a wrong command line.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	opts, err := parseOptions(args, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return 2
	}
	if err := perform(ctx, opts, stdout); err != nil {
		fmt.Fprintf(stderr, "http: %v\n", err)
		return 1
	}
	return 0
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
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	wrong := ""
	switch {
	case flags.NArg() > 0:
		wrong = fmt.Sprintf("unexpected argument %q", flags.Arg(0))
	case opts.listen != "" && opts.dial != "":
		wrong = "-listen and -dial exclude each other"
	case opts.size < 0 || opts.size > maxMebi:
		wrong = fmt.Sprintf("-size must be from 0 to %d MiB", maxMebi)
	case opts.timeout <= 0:
		wrong = "-timeout must be above 0"
	}
	if wrong != "" {
		fmt.Fprintf(stderr, "http: %s\n", wrong)
		flags.Usage()
		return nil, errors.New(wrong)
	}
	return opts, nil
}

func perform(ctx context.Context, opts *options, stdout io.Writer) error {
	block, err := keyfile.Load(opts.key)
	if err != nil {
		return err
	}
	// HTTP is a stream. WaitPeer lets a dial fail, as HTTP clients expect it,
	// when nobody is there. Long downloads go through the send window.
	config := &kcp.Config{
		BlockCrypt: block, StreamMode: true, WaitPeer: true,
		NoDelay: true, FastResend: 2, NoCongestionControl: true,
		SendWindow: 1024, ReceiveWindow: 1024,
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
