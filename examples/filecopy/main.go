// SPDX-License-Identifier: MIT

// Filecopy copies files to another machine over KCP sessions, with a progress bar. An interrupted
// copy resumes when it is started again. The received file is compared with the original's SHA-256.
//
// The receiving machine serves a directory, the other one sends to it:
//
//	go run ./examples/filecopy -listen :4000 -dir incoming
//	go run ./examples/filecopy -dial server.example:4000 movie.mkv notes.txt
//
// Without a key whoever reaches the port can store files, and read them on their way. With a key
// only its holders can:
//
//	openssl rand -hex 32 >secret.key   # and copy it to both machines
//	go run ./examples/filecopy -key secret.key -listen :4000 -dir incoming
//	go run ./examples/filecopy -key secret.key -dial server.example:4000 movie.mkv
//
// Files are stored under their last name, never over one that exists.
package main

import (
	"context"
	"flag"
	"io"
	"time"

	"github.com/seedkcp/kcp/examples/internal/cli"
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

func main() { cli.Main(run) }

// run is the whole program. It returns the exit status: 0 for success, 1 when
// something failed, 2 for a wrong command line.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	opts, err := parseOptions(args, stderr)
	if err != nil {
		return cli.Status("filecopy", stderr, err)
	}
	config, err := opts.config()
	if err == nil && opts.listen != "" {
		err = receiveFiles(ctx, config, opts, stdout)
	} else if err == nil {
		err = sendFiles(ctx, config, opts, stdout)
	}
	return cli.Status("filecopy", stderr, err)
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
	err := cli.Parse(flags, args, func() string {
		opts.files = flags.Args()
		switch {
		case (opts.listen == "") == (opts.dial == ""):
			return "one of -listen and -dial is needed"
		case opts.listen != "" && len(opts.files) > 0:
			return "files are named with -dial only"
		case opts.dial != "" && len(opts.files) == 0:
			return "no file is named"
		case opts.maxSize < 0 || opts.maxSize > 1<<40:
			return "-max must be from 0 to 2^40 MiB"
		case opts.timeout <= 0:
			return "-timeout must be above 0"
		}
		return ""
	})
	return opts, err
}
