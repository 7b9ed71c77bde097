// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/seedkcp/kcp"
)

// maxMebi bounds what a request may ask for or upload.
const maxMebi = 1024

// sessionKey is under which a request's context has its session.
type sessionKey struct{}

// serve answers requests until ctx ends, and lets those that run then finish.
func serve(ctx context.Context, listener net.Listener, timeout time.Duration) error {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", describe)
	mux.HandleFunc("GET /bytes", sendBytes)
	mux.HandleFunc("POST /sha256", hashBody)
	server := &http.Server{
		Handler:           mux,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       timeout,
		WriteTimeout:      timeout,
		IdleTimeout:       timeout,
		MaxHeaderBytes:    16 << 10,
		ConnContext: func(ctx context.Context, conn net.Conn) context.Context {
			return context.WithValue(ctx, sessionKey{}, conn)
		},
	}
	finished := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() {
		grace, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		finished <- server.Shutdown(grace)
	})
	err := server.Serve(listener)
	if !stop() && errors.Is(err, http.ErrServerClosed) {
		return <-finished
	}
	return err
}

// describe answers with the server's figures of the client's session.
func describe(w http.ResponseWriter, r *http.Request) {
	sess, ok := r.Context().Value(sessionKey{}).(*kcp.UDPSession)
	if !ok {
		http.Error(w, "this is no KCP session", http.StatusInternalServerError)
		return
	}
	st := sess.Stats()
	fmt.Fprintf(w, "session %08x from %v, %d datagrams in, %d out, RTT %v\n",
		sess.GetConv(), sess.RemoteAddr(), st.PacketsReceived, st.PacketsSent, st.SRTT)
}

// sendBytes sends as many pseudo-random bytes as the query asks for.
func sendBytes(w http.ResponseWriter, r *http.Request) {
	n, err := strconv.ParseInt(r.URL.Query().Get("n"), 10, 64)
	if err != nil || n < 0 || n > maxMebi<<20 {
		http.Error(w, fmt.Sprintf("n: a number from 0 to %d", maxMebi<<20), http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Length", strconv.FormatInt(n, 10))
	io.CopyN(w, generator(), n)
}

// hashBody answers with the SHA-256 of what it is sent.
func hashBody(w http.ResponseWriter, r *http.Request) {
	h := sha256.New()
	if _, err := io.Copy(h, http.MaxBytesReader(w, r.Body, maxMebi<<20)); err != nil {
		http.Error(w, err.Error(), http.StatusRequestEntityTooLarge)
		return
	}
	fmt.Fprintf(w, "%x\n", h.Sum(nil))
}

// generator returns an endless reader of pseudo-random bytes, the same ones
// every time.
func generator() io.Reader {
	return rand.NewChaCha8([32]byte([]byte("kcp http example: any fixed seed")))
}
