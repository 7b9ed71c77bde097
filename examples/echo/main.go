// SPDX-License-Identifier: MIT

// Echo streams a file through a KCP session over UDP to an echo server. It checks that every byte
// came back, and prints the speed.
//
// Without -listen and -dial the server runs in the same process, on a free port of the loopback
// interface:
//
//	go run ./examples/echo
//	go run ./examples/echo -file movie.mkv
//
// Over two machines, the server until it is interrupted and a client for each file:
//
//	go run ./examples/echo -listen :4000
//	go run ./examples/echo -dial server.example:4000 -file movie.mkv
//
// Nothing is encrypted: the example measures the transport.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"time"

	"github.com/seedkcp/kcp/examples/internal/cli"
	"github.com/seedkcp/kcp/examples/internal/progress"
)

// options are the command line.
type options struct {
	file    string
	mebi    int
	listen  string
	dial    string
	timeout time.Duration
}

func main() { cli.Main(run) }

// run is the whole program. It returns the exit status: 0 for success, 1 when
// something failed, 2 for a wrong command line.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	opts, err := parseOptions(args, stderr)
	if err != nil {
		return cli.Status("echo", stderr, err)
	}
	if opts.listen != "" {
		err = runServer(ctx, opts, stdout)
	} else {
		err = runClient(ctx, opts, stdout)
	}
	return cli.Status("echo", stderr, err)
}

func parseOptions(args []string, stderr io.Writer) (options, error) {
	var opts options
	flags := flag.NewFlagSet("echo", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&opts.file, "file", "", "stream the file `path` instead of generated data")
	flags.IntVar(&opts.mebi, "size", 64, "`MiB` to generate when no file is given")
	flags.StringVar(&opts.listen, "listen", "", "only serve, on this UDP `address`, until interrupted")
	flags.StringVar(&opts.dial, "dial", "", "only be the client of the server at this UDP `address`")
	flags.DurationVar(&opts.timeout, "timeout", 10*time.Second, "give up after this `time` without a byte from the peer")
	err := cli.Parse(flags, args, func() string {
		switch {
		case flags.NArg() > 0:
			return fmt.Sprintf("unexpected argument %q (a file is given with -file)", flags.Arg(0))
		case opts.listen != "" && opts.dial != "":
			return "-listen and -dial exclude each other"
		case opts.listen != "" && opts.file != "":
			return "-file is the client's: it cannot be used with -listen"
		case opts.mebi < 0 || int64(opts.mebi) > maxMebi:
			return fmt.Sprintf("-size must be from 0 to %d MiB", maxMebi)
		case opts.timeout <= 0:
			return "-timeout must be above 0"
		}
		return ""
	})
	return opts, err
}

// runServer echoes every client's stream until ctx ends.
func runServer(ctx context.Context, opts options, stdout io.Writer) error {
	srv, err := newServer(opts.listen, opts.timeout, stdout)
	if err != nil {
		return err
	}
	fmt.Fprintf(stdout, "echo server on %v, stop it with Ctrl-C\n", srv.addr())
	stop := context.AfterFunc(ctx, srv.close)
	defer stop()
	return srv.serve()
}

// runClient streams the data to the server named by -dial, or to one of its
// own, and prints the result.
func runClient(ctx context.Context, opts options, stdout io.Writer) error {
	src, err := openSource(opts.file, opts.mebi)
	if err != nil {
		return err
	}
	defer src.Close()

	addr := opts.dial
	if addr == "" {
		var log bytes.Buffer
		srv, err := newServer("127.0.0.1:0", opts.timeout, &log)
		if err != nil {
			return err
		}
		addr = srv.addr().String()
		served := make(chan struct{})
		go func() {
			defer close(served)
			if err := srv.serve(); err != nil {
				fmt.Fprintln(&log, err)
			}
		}()
		defer func() {
			srv.close()
			<-served
			if log.Len() > 0 {
				fmt.Fprintf(stdout, "  server      %s", &log)
			}
		}()
	}
	fmt.Fprintf(stdout, "streaming %s to %s and back\n", src.name, addr)

	c, err := dialClient(addr, opts.timeout, src.size)
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { c.sess.Close() })
	defer stop()
	res, err := c.transfer(src, progress.New(stdout))
	if ctx.Err() != nil {
		return errors.New("interrupted")
	}
	if err != nil {
		return err
	}
	return res.print(stdout)
}
