// SPDX-License-Identifier: MIT

package apptest

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"math/big"
	"net"
	"time"

	"github.com/hashicorp/yamux"
	"github.com/xtaci/smux"
	"golang.org/x/crypto/ssh"
)

// serverTLS returns a configuration with a certificate of its own, clientTLS one that accepts it.
func serverTLS() (*tls.Config, error) {
	public, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(24 * time.Hour),
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, public, key)
	return &tls.Config{Certificates: []tls.Certificate{
		{Certificate: [][]byte{cert}, PrivateKey: key},
	}}, err
}

func clientTLS() *tls.Config { return &tls.Config{InsecureSkipVerify: true} }

func tlsProgram() program {
	serve := func(l net.Listener, h *handler) (func() error, error) {
		config, err := serverTLS()
		if err != nil {
			return nil, err
		}
		return serveEach(l, func(conn net.Conn, c *connections) {
			s := tls.Server(conn, config)
			c.add(s)
			h.ended(h.serveStream(s))
			_ = s.Close()
		})
	}
	dial := func(open func() (net.Conn, error)) (client, error) {
		conn, err := open()
		if err != nil {
			return nil, err
		}
		c := tls.Client(conn, clientTLS())
		return &streamClient{newOneStream(c).lend, c.Close, nil}, nil
	}
	return program{name: "crypto/tls", serve: serve, dial: dial}
}

func sshProgram() program {
	const channel = "exchange"
	serve := func(l net.Listener, h *handler) (func() error, error) {
		_, key, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			return nil, err
		}
		signer, err := ssh.NewSignerFromKey(key)
		if err != nil {
			return nil, err
		}
		config := &ssh.ServerConfig{NoClientAuth: true}
		config.AddHostKey(signer)
		return serveEach(l, func(conn net.Conn, c *connections) {
			s, channels, requests, err := ssh.NewServerConn(conn, config)
			if err != nil {
				h.ended(err)
				return
			}
			c.add(s)
			go ssh.DiscardRequests(requests)
			for n := range channels {
				stream, requests, err := n.Accept()
				if err != nil {
					break
				}
				go ssh.DiscardRequests(requests)
				c.all.Go(func() {
					_ = h.serveStream(stream)
					_ = stream.Close()
				})
			}
			h.ended(s.Wait())
		})
	}
	dial := func(open func() (net.Conn, error)) (client, error) {
		conn, err := open()
		if err != nil {
			return nil, err
		}
		config := &ssh.ClientConfig{HostKeyCallback: ssh.InsecureIgnoreHostKey()}
		s, channels, requests, err := ssh.NewClientConn(conn, "server", config)
		if err != nil {
			return nil, err
		}
		c := ssh.NewClient(s, channels, requests)
		return &streamClient{func() (io.ReadWriteCloser, error) {
			stream, requests, err := c.OpenChannel(channel, nil)
			if err == nil {
				go ssh.DiscardRequests(requests)
			}
			return stream, err
		}, c.Close, c.Wait}, nil
	}
	return program{name: "x/crypto/ssh", serve: serve, dial: dial}
}

func yamuxProgram() program {
	config := yamux.DefaultConfig()
	config.LogOutput = io.Discard
	p := muxProgram("hashicorp/yamux",
		func(conn net.Conn) (muxSession[*yamux.Stream], error) { return yamux.Server(conn, config) },
		func(conn net.Conn) (muxSession[*yamux.Stream], error) { return yamux.Client(conn, config) })
	p.real = true
	return p
}

func smuxProgram(name string, version int) program {
	config := smux.DefaultConfig()
	config.Version = version
	return muxProgram(name,
		func(conn net.Conn) (muxSession[*smux.Stream], error) { return smux.Server(conn, config) },
		func(conn net.Conn) (muxSession[*smux.Stream], error) { return smux.Client(conn, config) })
}

// muxSession is a session of a multiplexer with streams of type S.
type muxSession[S io.ReadWriteCloser] interface {
	OpenStream() (S, error)
	AcceptStream() (S, error)
	Close() error
}

// muxProgram has a stream of a multiplexer for each call.
func muxProgram[S io.ReadWriteCloser](
	name string, server, clientOf func(net.Conn) (muxSession[S], error),
) program {
	serve := func(l net.Listener, h *handler) (func() error, error) {
		return serveEach(l, func(conn net.Conn, c *connections) {
			s, err := server(conn)
			if err != nil {
				h.ended(err)
				return
			}
			c.add(s)
			for {
				stream, err := s.AcceptStream()
				if err != nil {
					h.ended(err)
					break
				}
				c.all.Go(func() {
					_ = h.serveStream(stream)
					_ = stream.Close()
				})
			}
			_ = s.Close()
		})
	}
	dial := func(open func() (net.Conn, error)) (client, error) {
		conn, err := open()
		if err != nil {
			return nil, err
		}
		s, err := clientOf(conn)
		if err != nil {
			return nil, err
		}
		return &streamClient{
			func() (io.ReadWriteCloser, error) { return s.OpenStream() }, s.Close,
			func() error {
				_, err := s.AcceptStream()
				return err
			},
		}, nil
	}
	return program{name: name, serve: serve, dial: dial}
}
