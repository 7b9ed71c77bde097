// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"fmt"
	"iter"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/seedkcp/kcp"
)

// direction is that of data, as this end of the tunnel sees its peer.
type direction string

const (
	directionIn  direction = "in"
	directionOut direction = "out"
)

// meters are the counters of one end of the tunnel. All methods may be called concurrently.
type meters struct {
	registry    *prometheus.Registry
	connections *prometheus.CounterVec // by kind
	open        *prometheus.GaugeVec   // by kind
	failures    *prometheus.CounterVec // by status
	reloads     *prometheus.CounterVec // by result

	bytesIn, bytesOut         prometheus.Counter
	datagramsIn, datagramsOut prometheus.Counter
	datagramsDropped          prometheus.Counter
}

func newMeters() *meters {
	vector := func(name, help string, label string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "kcptunnel", Name: name, Help: help}, []string{label})
	}
	bytes := vector("bytes_total", "Bytes of connections and datagrams, before compression.", "direction")
	datagrams := vector("datagrams_total", "Datagrams forwarded.", "direction")
	m := &meters{
		registry:    prometheus.NewRegistry(),
		connections: vector("connections_total", "Connections and flows of datagrams.", "kind"),
		open: prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: "kcptunnel",
			Name: "connections_open", Help: "Connections and flows that are open."}, []string{"kind"}),
		failures: vector("failures_total", "Requests that failed, by the server's answer.", "status"),
		reloads:  vector("reloads_total", "Reloads of the settings.", "result"),
		datagramsDropped: prometheus.NewCounter(prometheus.CounterOpts{Namespace: "kcptunnel",
			Name: "datagrams_dropped_total", Help: "Datagrams dropped for lack of room."}),
		bytesIn:      bytes.WithLabelValues(string(directionIn)),
		bytesOut:     bytes.WithLabelValues(string(directionOut)),
		datagramsIn:  datagrams.WithLabelValues(string(directionIn)),
		datagramsOut: datagrams.WithLabelValues(string(directionOut)),
	}
	m.registry.MustRegister(m.connections, m.open, m.failures, m.reloads, bytes, datagrams,
		m.datagramsDropped, collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// opened counts a connection, until the function that it returns is called.
func (m *meters) opened(k requestKind) (closed func()) {
	m.connections.WithLabelValues(k.String()).Inc()
	open := m.open.WithLabelValues(k.String())
	open.Inc()
	return open.Dec
}

func (m *meters) failed(s status) { m.failures.WithLabelValues(s.String()).Inc() }

func (m *meters) reloaded(err error) {
	result := "ok"
	if err != nil {
		result = "error"
	}
	m.reloads.WithLabelValues(result).Inc()
}

func (m *meters) received(n int) { m.bytesIn.Add(float64(n)) }
func (m *meters) sent(n int)     { m.bytesOut.Add(float64(n)) }
func (m *meters) dropped()       { m.datagramsDropped.Inc() }

func (m *meters) datagram(d direction) {
	if d == directionIn {
		m.datagramsIn.Inc()
	} else {
		m.datagramsOut.Inc()
	}
}

// serveMetrics serves /metrics at a TCP address until ctx is done, and returns its address.
// sessions may be nil.
func (m *meters) serveMetrics(
	ctx context.Context, addr string, sessions iter.Seq[*kcp.UDPSession], log *slog.Logger,
) error {
	if err := m.registry.Register(newCollector(sessions)); err != nil {
		return err
	}
	var c net.ListenConfig
	l, err := c.Listen(ctx, "tcp", addr)
	if err != nil {
		return fmt.Errorf("metrics: %w", err)
	}
	log.Info("serving metrics", "address", l.Addr().String())
	mux := http.NewServeMux()
	mux.Handle("/metrics", promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{}))
	server := &http.Server{
		Handler: mux, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute,
	}
	go func() { _ = server.Serve(l) }()
	context.AfterFunc(ctx, func() { _ = server.Close() })
	return nil
}
