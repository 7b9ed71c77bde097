// SPDX-License-Identifier: MIT

// Game simulates the traffic of a fast multiplayer game: many players in rooms of four. Each player
// sends 30 times a second a message that must arrive (a shot) and an out-of-band packet of which
// the newest counts (a position). The server passes both on to the room. When the time is over the
// median and the 99th percentile of a round trip are printed for both kinds.
//
// Alone it is server and players in one process, over loopback:
//
//	go run ./examples/game
//	go run ./examples/game -loss 5           # each player loses 5 % each way
//	go run ./examples/game -loss 5 -parity 1 # a parity packet for each packet
//
// Over a simulated path, which needs no network, it plays with and without copies of small messages
// at the same time, and prints what that changes:
//
//	go run ./examples/game -simulate -time 10s
//	go run ./examples/game -simulate -rtt 200ms -loss 20 -bursts 3
//
// Over two machines:
//
//	go run ./examples/game -listen :4000
//	go run ./examples/game -dial server.example:4000 -players 20 -time 10s
//
// With -key FILE packets are encrypted and authenticated under a key that both ends have.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"time"

	"github.com/seedkcp/kcp/examples/internal/cli"
	"github.com/seedkcp/kcp/examples/internal/keyfile"
)

type options struct {
	listen, dial string
	players      int
	time         time.Duration
	loss         float64
	parity       int
	key          string

	simulate bool
	rtt      time.Duration
	bursts   int
}

func main() { cli.Main(run) }

// run is the whole program. It returns the exit status: 0 for success, 1 when
// something failed, 2 for a wrong command line.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	opts, err := parseOptions(args, stderr)
	if err != nil {
		return cli.Status("game", stderr, err)
	}
	return cli.Status("game", stderr, perform(ctx, opts, stdout))
}

func parseOptions(args []string, stderr io.Writer) (*options, error) {
	opts := new(options)
	flags := flag.NewFlagSet("game", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&opts.listen, "listen", "", "only serve, on this UDP `address`, until interrupted")
	flags.StringVar(&opts.dial, "dial", "", "only play, on the server at this UDP `address`")
	flags.IntVar(&opts.players, "players", 100, "`number` of players")
	flags.DurationVar(&opts.time, "time", 3*time.Second, "how `long` to play")
	flags.Float64Var(&opts.loss, "loss", 0, "lose this share of the players' packets, in `percent`, each way")
	flags.IntVar(&opts.parity, "parity", 0, "send this `number` of parity packets for each packet (FEC), 0 to 3")
	flags.BoolVar(&opts.simulate, "simulate", false, fmt.Sprintf("play over a simulated path, with %d players and a loss of %d %% unless others are given", simulatedPlayers, simulatedLoss))
	flags.DurationVar(&opts.rtt, "rtt", 100*time.Millisecond, "round-trip `time` of the simulated path")
	flags.IntVar(&opts.bursts, "bursts", 1, "how many packets in a row the simulated path loses, a `number` from 1 to 10")
	flags.StringVar(&opts.key, keyfile.Flag, "", keyfile.Usage)
	err := cli.Parse(flags, args, func() string {
		switch {
		case flags.NArg() > 0:
			return fmt.Sprintf("unexpected argument %q", flags.Arg(0))
		case opts.listen != "" && opts.dial != "":
			return "-listen and -dial exclude each other"
		case opts.simulate && (opts.listen != "" || opts.dial != ""):
			return "-simulate needs neither -listen nor -dial"
		case opts.rtt < 0 || opts.rtt > 2*time.Second:
			return "-rtt must be from 0 to 2s"
		case opts.bursts < 1 || opts.bursts > 10:
			return "-bursts must be from 1 to 10"
		case opts.players < 1 || opts.players > maxPlayers:
			return fmt.Sprintf("-players must be from 1 to %d", maxPlayers)
		case opts.time <= 0:
			return "-time must be above 0"
		case opts.loss < 0 || opts.loss > 50:
			return "-loss must be from 0 to 50"
		case opts.parity < 0 || opts.parity > 3:
			return "-parity must be from 0 to 3"
		}
		return ""
	})
	if given := givenFlags(flags); opts.simulate {
		if !given["players"] {
			opts.players = simulatedPlayers
		}
		if !given["loss"] {
			opts.loss = simulatedLoss
		}
	}
	return opts, err
}

func givenFlags(flags *flag.FlagSet) map[string]bool {
	given := make(map[string]bool)
	flags.Visit(func(f *flag.Flag) { given[f.Name] = true })
	return given
}

func perform(ctx context.Context, opts *options, stdout io.Writer) error {
	config, err := opts.config()
	if err != nil {
		return err
	}
	if opts.simulate {
		return simulate(ctx, config, opts, stdout)
	}
	if opts.dial != "" {
		return play(ctx, config, opts.dial, opts, stdout)
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
		return newServer(listener).serve(ctx)
	}
	return serveWhile(ctx, listener, func() error {
		return play(ctx, config, listener.Addr().String(), opts, stdout)
	})
}
