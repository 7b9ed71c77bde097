// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/seedkcp/kcp"
	"github.com/seedkcp/kcp/examples/internal/progress"
)

// newClient returns an http.Client whose connections are KCP sessions. They
// are kept for later requests as TCP connections are.
func newClient(config *kcp.Config, timeout time.Duration) *http.Client {
	return &http.Client{
		Timeout: timeout,
		Transport: &http.Transport{
			DialContext: func(ctx context.Context, _, addr string) (net.Conn, error) {
				dialing, cancel := context.WithTimeout(ctx, 5*time.Second)
				defer cancel()
				sess, err := config.Dial(dialing, addr)
				if errors.Is(err, context.DeadlineExceeded) {
					return nil, fmt.Errorf("no answer from %s: is a server running there, with the same key?", addr)
				}
				if err != nil {
					return nil, err
				}
				return sess, nil
			},
			MaxIdleConnsPerHost:   4,
			IdleConnTimeout:       30 * time.Second,
			ResponseHeaderTimeout: timeout,
		},
	}
}

// exchange sends bytes both ways and checks that they arrived.
func exchange(ctx context.Context, config *kcp.Config, addr string, opts *options, stdout io.Writer) error {
	client := newClient(config, opts.timeout)
	defer client.CloseIdleConnections()
	base := "http://" + addr
	n := int64(opts.size) << 20

	var about strings.Builder
	if err := request(ctx, client, http.MethodGet, base+"/", nil, &about); err != nil {
		return err
	}
	fmt.Fprintf(stdout, "the server says: %s", about.String())

	down := sha256.New()
	start := time.Now()
	if err := request(ctx, client, http.MethodGet, fmt.Sprintf("%s/bytes?n=%d", base, n), nil, down); err != nil {
		return fmt.Errorf("download: %w", err)
	}
	downTime := time.Since(start)

	up := sha256.New()
	var answer strings.Builder
	start = time.Now()
	body := io.TeeReader(io.LimitReader(generator(), n), up)
	if err := request(ctx, client, http.MethodPost, base+"/sha256", body, &answer); err != nil {
		return fmt.Errorf("upload: %w", err)
	}
	upTime := time.Since(start)

	// Both directions carry the same bytes, so one sum checks both.
	if want := sum(up); sum(down) != want || strings.TrimSpace(answer.String()) != want {
		return fmt.Errorf("SHA-256 differs: sent %s, up %s, down %s", want, strings.TrimSpace(answer.String()), sum(down))
	}
	fmt.Fprintf(stdout, "%s each way: %.1f MB/s down, %.1f MB/s up, SHA-256 %s\n",
		progress.Bytes(n), progress.Rate(n, downTime), progress.Rate(n, upTime), sum(up))
	return nil
}

func sum(h hash.Hash) string { return fmt.Sprintf("%x", h.Sum(nil)) }

// request copies the body of the answer to w. An answer other than 200 is an
// error.
func request(ctx context.Context, client *http.Client, method, url string, body io.Reader, w io.Writer) error {
	req, err := http.NewRequestWithContext(ctx, method, url, body)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 200))
		return fmt.Errorf("%s: %s: %q", url, resp.Status, text)
	}
	_, err = io.Copy(w, io.LimitReader(resp.Body, maxMebi<<20))
	return err
}
