// SPDX-License-Identifier: MIT

// Tunnel forwards TCP connections over KCP: each of them is a session of its own, and all sessions
// share one UDP socket. So a service that is far away over a lossy line feels closer than over TCP
// alone.
//
// Beside the service, here a web server on port 80, and at the other end, where the service then is
// reached at port 8080:
//
//	go run ./examples/tunnel server -key secret.key -listen :4000 -to 127.0.0.1:80
//	go run ./examples/tunnel client -key secret.key -listen 127.0.0.1:8080 -to server.example:4000
//
// secret.key holds 64 hexadecimal digits, as `openssl rand -hex 32` prints them, the same at both
// ends. Without -key an attacker on the path can read and change everything, and everyone can use
// the server. -cipher chooses the cipher, which must be the same at both ends:
//
//	go run ./examples/tunnel server -key secret.key -cipher xchacha20 -fec 10/3 -listen :4000 -to 127.0.0.1:80
//
// -fec 10/3 sends 3 parity packets for each 10 packets; it helps on long lossy lines. -cc chooses the
// congestion control, such as cubic for what TCP usually does. Each end decides both for what it
// sends.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"time"

	"github.com/seedkcp/kcp"
	"github.com/seedkcp/kcp/examples/internal/cli"
	"github.com/seedkcp/kcp/examples/internal/keyfile"
)

type options struct {
	server       bool
	listen, to   string
	cipher, key  string
	data, parity int
	window, mtu  int
	congestion   string
	bandwidth    int64
	timeout      time.Duration
	idle         time.Duration
	connections  int
}

func main() { cli.Main(run) }

// run is the whole program. It returns the exit status: 0 for success, 1 when
// something failed, 2 for a wrong command line.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	opts, err := parseOptions(args, stderr)
	if err != nil {
		return cli.Status("tunnel", stderr, err)
	}
	config, err := opts.config()
	if err == nil {
		log := &logger{w: stdout}
		if config.BlockCrypt == nil {
			log.printf("warning: no -key: everybody on the way can read and change what passes")
		}
		f := &forwarder{to: opts.to, idle: opts.idle, timeout: opts.timeout, places: make(chan struct{}, opts.connections), log: log}
		if opts.server {
			err = f.serve(ctx, config, opts.listen)
		} else {
			err = f.forward(ctx, config, opts.listen)
		}
	}
	return cli.Status("tunnel", stderr, err)
}

func parseOptions(args []string, stderr io.Writer) (*options, error) {
	opts := new(options)
	flags := flag.NewFlagSet("tunnel", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() {
		fmt.Fprintln(stderr, "usage: tunnel server|client -listen ADDRESS -to ADDRESS [options]")
		flags.PrintDefaults()
	}
	flags.StringVar(&opts.listen, "listen", "", "server: UDP `address` for clients; client: TCP address for connections")
	flags.StringVar(&opts.to, "to", "", "server: TCP `address` to connect to; client: the server's UDP address")
	flags.StringVar(&opts.key, keyfile.Flag, "", "key `file`: 64 hexadecimal digits, as 'openssl rand -hex 32' prints them; the same at both ends")
	flags.StringVar(&opts.cipher, "cipher", "aes-gcm", "protection, `one` of "+cipherNames()+"; the first two also detect changes")
	fec := flags.String("fec", "", "packets and parity packets of a group, as in `10/3`; default none")
	flags.IntVar(&opts.window, "window", 1024, "least window in `segments`; it grows as the path needs")
	flags.IntVar(&opts.mtu, "mtu", 1400, "UDP payload of a datagram in `bytes`")
	flags.StringVar(&opts.congestion, "cc", string(kcp.CongestionRate),
		"congestion control, `one` of rate, rate-aggressive, cubic, classic, fixed, off; each end's for what it sends")
	flags.Int64Var(&opts.bandwidth, "bandwidth", 0, "`bytes` a second that -cc fixed sends")
	flags.DurationVar(&opts.timeout, "timeout", 15*time.Second, "give up a peer that does not answer after this `time`")
	flags.DurationVar(&opts.idle, "idle", time.Hour, "end a connection after this `time` without a byte")
	flags.IntVar(&opts.connections, "max", 1000, "`connections` at a time; further ones are turned away")

	switch {
	case len(args) == 0:
		return nil, cli.Wrong(flags, "want server or client")
	case args[0] == "server":
		opts.server = true
	case args[0] == "-h" || args[0] == "-help" || args[0] == "--help":
		flags.Usage()
		return nil, flag.ErrHelp
	case args[0] != "client":
		return nil, cli.Wrong(flags, fmt.Sprintf("%q is neither server nor client", args[0]))
	}
	err := cli.Parse(flags, args[1:], func() string { return opts.check(flags.Args(), *fec) })
	return opts, err
}

// check returns what is wrong with the options, or "".
func (o *options) check(rest []string, fec string) string {
	var behind string
	if fec != "" {
		if n, _ := fmt.Sscanf(fec+" ", "%d/%d%s", &o.data, &o.parity, &behind); n != 2 || o.data < 1 || o.parity < 1 {
			return fmt.Sprintf("-fec %q is not like 10/3", fec)
		}
	}
	switch {
	case len(rest) > 0:
		return fmt.Sprintf("unexpected argument %q", rest[0])
	case o.listen == "" || o.to == "":
		return "-listen and -to are needed"
	case o.timeout <= 0 || o.idle <= 0:
		return "-timeout and -idle must be above 0"
	case o.connections < 1:
		return "-max must be above 0"
	}
	return ""
}
