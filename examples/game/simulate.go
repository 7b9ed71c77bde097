// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/seedkcp/kcp"
	"github.com/seedkcp/kcp/internal/simnet"
)

const (
	simulatedPlayers = 20
	simulatedLoss    = 5 // percent
	serverAddr       = "10.0.0.1:4000"
	reportPause      = time.Second
)

// variant is a way to protect the messages against losses.
type variant struct {
	name string
	set  func(config *kcp.Config)
}

var variants = []variant{
	{"without copies", func(config *kcp.Config) { config.Redundancy = kcp.RedundancyOff }},
	{"with copies", func(*kcp.Config) {}},
}

// simulate plays the same game once for each variant, all at the same time over simulated paths
// that lose alike, and prints what the players see.
func simulate(ctx context.Context, config *kcp.Config, opts *options, stdout io.Writer) error {
	loss := fmt.Sprintf("%g %%", opts.loss)
	if opts.bursts > 1 {
		loss += fmt.Sprintf(" in bursts of %d", opts.bursts)
	}
	fmt.Fprintf(stdout, "round trip %v, loss %s each way\n%s", opts.rtt, loss, intro(opts))
	games := make([]*game, len(variants))
	errs := make([]error, len(variants))
	var playing sync.WaitGroup
	for i, v := range variants {
		own := *config
		v.set(&own)
		games[i] = newGame(opts)
		playing.Go(func() { errs[i] = playSimulated(ctx, &own, games[i], opts) })
	}
	over := make(chan struct{})
	go func() {
		playing.Wait()
		close(over)
	}()
	begin := time.Now()
	ticker := time.NewTicker(reportPause)
	defer ticker.Stop()
	for running := true; running; {
		select {
		case <-over:
			running = false
		case now := <-ticker.C:
			fmt.Fprintf(stdout, "%3.0f s", now.Sub(begin).Seconds())
			for i, v := range variants {
				messages, _ := games[i].trips()
				fmt.Fprintf(stdout, "   %s %s", v.name, messages.quantiles())
			}
			fmt.Fprintln(stdout)
		}
	}
	for i, v := range variants {
		if errs[i] != nil {
			return fmt.Errorf("%s: %w", v.name, errs[i])
		}
		fmt.Fprintf(stdout, "%s:\n", v.name)
		games[i].print(stdout)
	}
	return nil
}

// playSimulated plays one game over a simulated path.
func playSimulated(ctx context.Context, config *kcp.Config, g *game, opts *options) error {
	network := simnet.New(1)
	defer network.Close()
	network.SetDefault(opts.path())
	socket, err := network.Listen(serverAddr)
	if err != nil {
		return err
	}
	listener, err := config.Serve(socket)
	if err != nil {
		return err
	}
	defer socket.Close()
	next := 0
	var mu sync.Mutex // guards next
	g.open = func() (net.PacketConn, error) {
		mu.Lock()
		defer mu.Unlock()
		next++
		return network.Listen(fmt.Sprintf("10.1.%d.%d:4000", next/256, next%256))
	}
	return serveWhile(ctx, listener, func() error {
		return g.play(ctx, config, socket.LocalAddr())
	})
}

// path is one direction of the simulated path.
func (o *options) path() simnet.Profile {
	p := simnet.Profile{Delay: o.rtt / 2, Loss: o.loss / 100}
	if o.bursts > 1 {
		p.Loss, p.Runs = 0, simnet.RunLoss(o.loss/100, o.bursts)
	}
	return p
}

// serveWhile serves until f returns.
func serveWhile(ctx context.Context, listener *kcp.Listener, f func() error) error {
	serving, stop := context.WithCancel(ctx)
	served := make(chan error, 1)
	go func() { served <- newServer(listener).serve(serving) }()
	err := f()
	stop()
	return errors.Join(err, <-served)
}
