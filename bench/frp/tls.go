// SPDX-License-Identifier: MIT

package main

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"time"
)

// encrypt puts TLS between the connection and what is above it, as the proxy does by default.
func (p *pair) encrypt() error {
	cert, err := selfSigned()
	if err != nil {
		return err
	}
	server := tls.Server(p.server, &tls.Config{Certificates: []tls.Certificate{cert}})
	client := tls.Client(p.client, &tls.Config{InsecureSkipVerify: true}) // there is nobody else
	accepted := make(chan error, 1)
	go func() { accepted <- server.Handshake() }()
	if err := client.Handshake(); err != nil {
		return err
	}
	p.client, p.server = client, server
	return <-accepted
}

func selfSigned() (tls.Certificate, error) {
	public, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, public, key)
	return tls.Certificate{Certificate: [][]byte{cert}, PrivateKey: key}, err
}
