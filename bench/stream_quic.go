// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"math/big"
	"net"
	"sync"
	"time"

	"github.com/quic-go/quic-go"
)

const quicProtocol = "bench"

// quicTLS makes the two sides' configurations around a new self-signed
// certificate, which the client trusts. quic-go always speaks TLS 1.3.
var quicTLS = sync.OnceValues(func() (c [2]*tls.Config, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return c, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "bench"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return c, err
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return c, err
	}
	roots := x509.NewCertPool()
	roots.AddCert(leaf)
	return [2]*tls.Config{
		{RootCAs: roots, ServerName: "127.0.0.1", NextProtos: []string{quicProtocol}, MinVersion: tls.VersionTLS13},
		{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}},
			NextProtos: []string{quicProtocol}, MinVersion: tls.VersionTLS13},
	}, nil
})

// openQUIC connects two ends over one stream of a quic-go connection with
// its default settings.
func openQUIC(p path) (_ *streams, err error) {
	conf, err := quicTLS()
	if err != nil {
		return nil, err
	}
	l, err := quic.ListenAddr(p.address(), conf[1], nil)
	if err != nil {
		return nil, err
	}
	var conns []*quic.Conn
	closeAll := sync.OnceFunc(func() {
		for _, c := range conns {
			c.CloseWithError(0, "")
		}
		l.Close()
	})
	defer func() {
		if err != nil {
			closeAll()
		}
	}()
	ctx, cancel := context.WithTimeout(context.Background(), stopLimit)
	defer cancel()
	dialled, err := quic.DialAddr(ctx, p.to(l.Addr()), conf[0], nil)
	if err != nil {
		return nil, err
	}
	conns = append(conns, dialled)
	client, err := dialled.OpenStreamSync(ctx)
	if err != nil {
		return nil, err
	}
	var server *quic.Stream
	err = greet(client, func() (io.Reader, error) {
		accepted, err := l.Accept(ctx)
		if err != nil {
			return nil, err
		}
		conns = append(conns, accepted)
		server, err = accepted.AcceptStream(ctx)
		return server, err
	})
	if err != nil {
		return nil, err
	}
	return &streams{client: client, server: server, close: closeAll}, nil
}
