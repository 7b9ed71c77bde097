// SPDX-License-Identifier: MIT

// Filecopy copies files to another machine over KCP sessions, with a progress
// bar. A copy that was broken off goes on where it ended when it is started
// again, and what arrives is compared with the original's SHA-256.
//
// The receiving machine serves a directory, the other one sends to it:
//
//	go run ./examples/filecopy -listen :4000 -dir incoming
//	go run ./examples/filecopy -dial server.example:4000 movie.mkv notes.txt
//
// Without a key anybody who reaches the port can store files, and read them
// on their way. With one, only its holders can:
//
//	openssl rand -hex 32 >secret.key   # and copy it to both machines
//	go run ./examples/filecopy -key secret.key -listen :4000 -dir incoming
//	go run ./examples/filecopy -key secret.key -dial server.example:4000 movie.mkv
//
// Files are stored under their last name, never over one that exists.
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
	dir          string
	maxSize      int64
	timeout      time.Duration
	key          string
	files        []string
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
	config, err := opts.config()
	if err == nil && opts.listen != "" {
		err = receiveFiles(ctx, config, opts, stdout)
	} else if err == nil {
		err = sendFiles(ctx, config, opts, stdout)
	}
	if err != nil {
		fmt.Fprintf(stderr, "filecopy: %v\n", err)
		return 1
	}
	return 0
}

func parseOptions(args []string, stderr io.Writer) (*options, error) {
	opts := new(options)
	flags := flag.NewFlagSet("filecopy", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&opts.listen, "listen", "", "receive files, on this UDP `address`, until interrupted")
	flags.StringVar(&opts.dir, "dir", ".", "with -listen: store files in this `directory`")
	flags.Int64Var(&opts.maxSize, "max", 64<<10, "with -listen: refuse files larger than this many `MiB`")
	flags.StringVar(&opts.dial, "dial", "", "send the named files to the receiver at this UDP `address`")
	flags.StringVar(&opts.key, keyfile.Flag, "", keyfile.Usage)
	flags.DurationVar(&opts.timeout, "timeout", 20*time.Second, "give up after this `time` without a byte from the peer")
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	opts.files = flags.Args()

	wrong := ""
	switch {
	case (opts.listen == "") == (opts.dial == ""):
		wrong = "one of -listen and -dial is needed"
	case opts.listen != "" && len(opts.files) > 0:
		wrong = "files are named with -dial only"
	case opts.dial != "" && len(opts.files) == 0:
		wrong = "no file is named"
	case opts.maxSize < 0 || opts.maxSize > 1<<40:
		wrong = "-max must be from 0 to 2^40 MiB"
	case opts.timeout <= 0:
		wrong = "-timeout must be above 0"
	}
	if wrong != "" {
		fmt.Fprintf(stderr, "filecopy: %s\n", wrong)
		flags.Usage()
		return nil, errors.New(wrong)
	}
	return opts, nil
}

// config is for bulk transfer. Without a congestion window a session takes its
// share of a lossy line, and more than that of a crowded one: leave
// NoCongestionControl out where others need the line too.
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
