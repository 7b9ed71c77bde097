// SPDX-License-Identifier: MIT

// Replacetest is a program as it is written for github.com/xtaci/kcp-go/v5:
// that is the path it imports, and nothing in it knows of this library. One
// replace line in its go.mod builds it against the library in this tree.
//
// It encrypts with AES under a key derived from a password, adds FEC, and
// echoes a message over the loopback interface.
package main

import (
	"bytes"
	"crypto/pbkdf2"
	"crypto/sha1"
	"errors"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"time"

	kcp "github.com/xtaci/kcp-go/v5"
)

func main() {
	key, err := pbkdf2.Key(sha1.New, "a password", []byte("a salt"), 4096, 32)
	if err != nil {
		log.Fatal(err)
	}
	block, err := kcp.NewAESBlockCrypt(key)
	if err != nil {
		log.Fatal(err)
	}
	message := make([]byte, 1<<20)
	rand.NewChaCha8([32]byte{}).Read(message)
	if err := roundTrip(block, 10, 3, message); err != nil {
		log.Fatal(err)
	}
	snmp := kcp.DefaultSnmp.Copy()
	fmt.Printf("echoed %d bytes; %d bytes sent, %d received in all\n",
		len(message), snmp.BytesSent, snmp.BytesReceived)
}

// roundTrip echoes message between a listener and a dialled session.
func roundTrip(block kcp.BlockCrypt, dataShards, parityShards int, message []byte) error {
	listener, err := kcp.ListenWithOptions("127.0.0.1:0", block, dataShards, parityShards)
	if err != nil {
		return err
	}
	return echoThrough(listener, message, func() (*kcp.UDPSession, error) {
		return kcp.DialWithOptions(listener.Addr().String(), block, dataShards, parityShards)
	})
}

// roundTripOnSockets does the same over packet sockets of its own.
func roundTripOnSockets(block kcp.BlockCrypt, message []byte) error {
	serverSocket, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer serverSocket.Close()
	clientSocket, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer clientSocket.Close()

	listener, err := kcp.ServeConn(block, 0, 0, serverSocket)
	if err != nil {
		return err
	}
	return echoThrough(listener, message, func() (*kcp.UDPSession, error) {
		return kcp.NewConn(listener.Addr().String(), block, 0, 0, clientSocket)
	})
}

// echoThrough sends message from a session that dial makes to listener and
// checks the echo. It closes both.
func echoThrough(listener *kcp.Listener, message []byte, dial func() (*kcp.UDPSession, error)) (err error) {
	if err := tuneListener(listener); err != nil {
		listener.Close()
		return err
	}
	stop := make(chan struct{})
	served := make(chan error, 1)
	go func() { served <- serve(listener, len(message), stop) }()
	defer func() {
		close(stop)
		listener.Close()
		if serveErr := <-served; err == nil {
			err = serveErr
		}
	}()

	conn, err := dial()
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := tuneClient(conn); err != nil {
		return err
	}
	if err := conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		return err
	}
	written := make(chan error, 1)
	go func() {
		_, err := conn.Write(message)
		written <- err
	}()
	reply := make([]byte, len(message))
	_, err = io.ReadFull(conn, reply)
	if err = errors.Join(err, <-written); err != nil {
		return err
	}
	if !bytes.Equal(reply, message) {
		return errors.New("the echo differs from what was sent")
	}
	return nil
}

// serve echoes size bytes of one session, and keeps it open until stop: what
// is under way must still be able to arrive.
func serve(listener *kcp.Listener, size int, stop <-chan struct{}) error {
	conn, err := listener.AcceptKCP()
	if err != nil {
		return err
	}
	defer conn.Close()
	tuneSession(conn)
	conn.SetDeadline(time.Now().Add(30 * time.Second))
	_, err = io.CopyN(conn, conn, int64(size))
	<-stop
	return err
}

// tuneSession sets what both ends set.
func tuneSession(conn *kcp.UDPSession) {
	conn.SetStreamMode(true)
	conn.SetWriteDelay(false)
	conn.SetNoDelay(1, 10, 2, 1)
	conn.SetMtu(1350)
	conn.SetWindowSize(512, 512)
	conn.SetACKNoDelay(true)
}

func tuneClient(conn *kcp.UDPSession) error {
	tuneSession(conn)
	if err := conn.SetDSCP(46); err != nil {
		return fmt.Errorf("SetDSCP: %w", err)
	}
	if err := conn.SetReadBuffer(1 << 20); err != nil {
		return fmt.Errorf("SetReadBuffer: %w", err)
	}
	if err := conn.SetWriteBuffer(1 << 20); err != nil {
		return fmt.Errorf("SetWriteBuffer: %w", err)
	}
	return nil
}

func tuneListener(listener *kcp.Listener) error {
	if err := listener.SetDSCP(46); err != nil {
		return fmt.Errorf("listener's SetDSCP: %w", err)
	}
	if err := listener.SetReadBuffer(1 << 20); err != nil {
		return fmt.Errorf("listener's SetReadBuffer: %w", err)
	}
	if err := listener.SetWriteBuffer(1 << 20); err != nil {
		return fmt.Errorf("listener's SetWriteBuffer: %w", err)
	}
	return nil
}
