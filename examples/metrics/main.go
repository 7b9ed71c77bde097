// SPDX-License-Identifier: MIT

// Command metrics is an echo server that shows its sessions to Prometheus.
//
//	go run . -listen :4000 -metrics 127.0.0.1:9100
//	curl http://127.0.0.1:9100/metrics
package main

import (
	"context"
	"flag"
	"io"
	"log"
	"net"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/seedkcp/kcp"
)

func main() {
	listen := flag.String("listen", ":4000", "UDP address of the sessions")
	metrics := flag.String("metrics", "127.0.0.1:9100", "TCP address to be scraped at")
	flag.Parse()
	l, err := new(kcp.Config).Listen(context.Background(), *listen)
	if err != nil {
		log.Fatal(err)
	}
	handler, err := newHandler(l)
	if err != nil {
		log.Fatal(err)
	}
	go func() { log.Fatal(http.ListenAndServe(*metrics, handler)) }()
	log.Fatal(serve(l))
}

// newHandler answers scrapes with the figures of l and of all sessions of the process.
func newHandler(l *kcp.Listener) (http.Handler, error) {
	registry := prometheus.NewRegistry()
	if err := registry.Register(newCollector(l)); err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("/metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	return mux, nil
}

// serve echoes until the listener is closed.
func serve(l net.Listener) error {
	for {
		conn, err := l.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer conn.Close()
			_, _ = io.Copy(conn, conn) // a session that ends, however it does, is gone
		}()
	}
}
