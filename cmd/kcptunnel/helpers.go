// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"encoding/csv"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/seedkcp/kcp"
)

// startHelpers starts what runs beside the tunnel: the log of counters, and the profiles. The
// function that it returns ends them.
func (s *settings) startHelpers(ctx context.Context, log *slog.Logger) (stop func(), err error) {
	ctx, cancel := context.WithCancel(ctx)
	var helpers sync.WaitGroup
	if s.profiler != "" {
		l, err := net.Listen("tcp", s.profiler)
		if err != nil {
			cancel()
			return nil, fmt.Errorf("pprof: %w", err)
		}
		log.Info("serving profiles", "address", l.Addr().String())
		server := &http.Server{Handler: profiles(), ReadHeaderTimeout: 10 * time.Second}
		helpers.Go(func() { _ = server.Serve(l) })
		context.AfterFunc(ctx, func() { _ = server.Close() })
	}
	if s.snmpLog != "" {
		helpers.Go(func() { s.logCounters(ctx, log) })
	}
	if s.compat {
		helpers.Go(func() { s.refuseReloads(ctx, log) })
	}
	return func() { cancel(); helpers.Wait() }, nil
}

// refuseReloads logs that a hangup reloads nothing in compat mode, until ctx is done.
func (s *settings) refuseReloads(ctx context.Context, log *slog.Logger) {
	hangups := s.hangups
	if hangups == nil {
		c := make(chan os.Signal, 1)
		signal.Notify(c, syscall.SIGHUP)
		defer signal.Stop(c)
		hangups = c
	}
	for {
		select {
		case <-hangups:
			log.Warn("with -compat settings are read at the start alone: nothing was reloaded")
		case <-ctx.Done():
			return
		}
	}
}

// profiles serves what net/http/pprof has. Of the command line it shows the program alone: the
// arguments may have the key.
func profiles() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, os.Args[0])
	})
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	return mux
}

// logCounters appends the counters to the file of the settings until ctx is done.
func (s *settings) logCounters(ctx context.Context, log *slog.Logger) {
	for sleep(ctx, time.Duration(s.snmpPeriod)*time.Second) {
		if err := appendCounters(s.snmpLog, time.Now()); err != nil {
			log.Error("snmplog", "error", err)
		}
	}
}

// appendCounters writes a line of the counters to a file. The last part of its path is a layout of
// package time. A new file begins with the names.
func appendCounters(path string, now time.Time) error {
	dir, base := filepath.Split(path)
	f, err := os.OpenFile(filepath.Join(dir, now.Format(base)),
		os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	defer f.Close()
	w := csv.NewWriter(f)
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if info.Size() == 0 {
		_ = w.Write(append([]string{"Unix"}, kcp.DefaultSnmp.Header()...))
	}
	_ = w.Write(append([]string{strconv.FormatInt(now.Unix(), 10)}, kcp.DefaultSnmp.ToSlice()...))
	w.Flush()
	return w.Error()
}
