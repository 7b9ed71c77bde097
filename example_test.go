// SPDX-License-Identifier: MIT

package kcp

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"log"
	"time"
)

// The examples are in the package itself and not in kcp_test. A test that imports this module by
// its path would break go mod tidy in programs that replace another module by it.

// Both ends in one program.
func Example() {
	listener, err := Listen("127.0.0.1:0") // a net.Listener
	if err != nil {
		log.Fatal(err)
	}
	defer listener.Close()
	go func() {
		conn, err := listener.Accept() // a net.Conn, once the first bytes of a peer are there
		if err != nil {
			log.Fatal(err)
		}
		defer conn.Close()
		io.Copy(conn, conn)
	}()

	conn, err := Dial(listener.Addr().String()) // a net.Conn too
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte("hello")); err != nil {
		log.Fatal(err)
	}
	reply := make([]byte, 1500)
	n, err := conn.Read(reply)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s\n", reply[:n])
	// Output: hello
}

// A server that echoes what it receives.
func ExampleListen() {
	listener, err := Listen("127.0.0.1:4000")
	if err != nil {
		log.Fatal(err)
	}
	for {
		conn, err := listener.Accept()
		if err != nil {
			log.Fatal(err)
		}
		go func() {
			defer conn.Close()
			io.Copy(conn, conn)
		}()
	}
}

// Its client.
func ExampleDial() {
	conn, err := Dial("127.0.0.1:4000")
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(5 * time.Second))

	if _, err := conn.Write([]byte("hello")); err != nil {
		log.Fatal(err)
	}
	reply := make([]byte, 1500)
	n, err := conn.Read(reply)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s\n", reply[:n])
}

// Both ends in one program, as streams, authenticated and encrypted with AES-256-GCM, with settings
// for low latency.
func ExampleConfig() {
	key := make([]byte, 32)
	rand.Read(key) // in earnest: 32 secret bytes that both ends have
	block, err := NewAESGCMCrypt(key)
	if err != nil {
		log.Fatal(err)
	}
	config := &Config{
		BlockCrypt:    block,
		StreamMode:    true,
		NoDelay:       true,
		Interval:      10 * time.Millisecond,
		FastResend:    2,
		SendWindow:    1024,
		ReceiveWindow: 1024,
	}
	ctx := context.Background()
	listener, err := config.Listen(ctx, "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	defer listener.Close()

	client, err := config.Dial(ctx, listener.Addr().String())
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	// The first bytes open the session. The listener accepts it when they arrive.
	if _, err := client.Write([]byte("hello")); err != nil {
		log.Fatal(err)
	}

	server, err := listener.AcceptKCP()
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	received := make([]byte, 5)
	if _, err := io.ReadFull(server, received); err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s\n", received)
	// Output: hello
}
