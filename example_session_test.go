// SPDX-License-Identifier: MIT

package kcp

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"sync"
	"time"

	"golang.org/x/crypto/chacha20poly1305"
)

// echoTo accepts sessions until the listener is closed and echoes what they send. The examples are
// its clients.
func echoTo(listener *Listener) {
	for {
		session, err := listener.AcceptKCP()
		if err != nil {
			return
		}
		go func() {
			defer session.Close()
			io.Copy(session, session)
		}()
	}
}

// XChaCha20-Poly1305 is fast without AES instructions too, and its key is good for any amount of
// traffic. One BlockCrypt serves any number of sessions and listeners. Both ends need it.
func ExampleNewAEADCrypt() {
	key := []byte("in earnest: 32 secret bytes only") // crypto/rand makes such
	aead, err := chacha20poly1305.NewX(key)
	if err != nil {
		log.Fatal(err)
	}
	config := &Config{BlockCrypt: NewAEADCrypt(aead), StreamMode: true}

	listener, err := config.Listen(context.Background(), "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	defer listener.Close()
	go echoTo(listener)

	session, err := config.Dial(context.Background(), listener.Addr().String())
	if err != nil {
		log.Fatal(err)
	}
	defer session.Close()
	session.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := session.Write([]byte("a secret")); err != nil {
		log.Fatal(err)
	}
	reply := make([]byte, 8)
	if _, err := io.ReadFull(session, reply); err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s\n", reply)
	// Output: a secret
}

// A parity packet for each packet recovers every loss except that of both, without a delay. This
// suits the few small messages of a game. The peer needs no setting for it.
func ExampleUDPSession_SetFEC() {
	listener, err := ListenWithOptions("127.0.0.1:0", nil, 0, 0)
	if err != nil {
		log.Fatal(err)
	}
	defer listener.Close()
	go echoTo(listener)

	session, err := DialWithOptions(listener.Addr().String(), nil, 0, 0)
	if err != nil {
		log.Fatal(err)
	}
	defer session.Close()
	if err := session.SetFEC(1, 1); err != nil {
		log.Fatal(err)
	}
	session.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := session.Write([]byte("jump")); err != nil {
		log.Fatal(err)
	}
	reply := make([]byte, 1500)
	n, err := session.Read(reply)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s\n", reply[:n])
	// Output: jump
}

// Positions of a moving object: only the newest counts, and none is worth a delay. They bypass the
// stream.
func ExampleUDPSession_SendOOB() {
	listener, err := ListenWithOptions("127.0.0.1:0", nil, 0, 0)
	if err != nil {
		log.Fatal(err)
	}
	defer listener.Close()
	client, err := DialWithOptions(listener.Addr().String(), nil, 0, 0)
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	// A session opens with its first data. Before that the server drops the packet.
	if _, err := client.Write([]byte("join")); err != nil {
		log.Fatal(err)
	}
	server, err := listener.AcceptKCP()
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()

	positions := make(chan string, 1)
	server.SetOOBHandler(func(packet []byte) {
		select {
		case positions <- string(packet): // a copy: the slice is the handler's for this call only
		default: // one is waiting already
		}
	})
	if err := client.SendOOB([]byte("x=3 y=4")); err != nil {
		log.Fatal(err)
	}
	fmt.Println(<-positions)
	// Output: x=3 y=4
}

// A request of any length ends with CloseWrite. The answer can still be read.
func ExampleUDPSession_CloseWrite() {
	config := &Config{StreamMode: true}
	listener, err := config.Listen(context.Background(), "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	defer listener.Close()
	go func() {
		server, err := listener.AcceptKCP()
		if err != nil {
			return
		}
		defer server.Close() // delivers what was written, and then the end
		request, err := io.ReadAll(server)
		if err != nil {
			return
		}
		server.Write(bytes.ToUpper(request))
	}()

	client, err := config.Dial(context.Background(), listener.Addr().String())
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	client.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := client.Write([]byte("please answer loudly")); err != nil {
		log.Fatal(err)
	}
	if err := client.CloseWrite(); err != nil {
		log.Fatal(err)
	}
	answer, err := io.ReadAll(client)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s\n", answer)
	// Output: PLEASE ANSWER LOUDLY
}

// The counters of a session, for a log or a dashboard.
func ExampleUDPSession_Stats() {
	listener, err := ListenWithOptions("127.0.0.1:0", nil, 0, 0)
	if err != nil {
		log.Fatal(err)
	}
	defer listener.Close()
	go echoTo(listener)
	session, err := DialWithOptions(listener.Addr().String(), nil, 0, 0)
	if err != nil {
		log.Fatal(err)
	}
	defer session.Close()
	session.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := session.Write([]byte("hello")); err != nil {
		log.Fatal(err)
	}
	if _, err := session.Read(make([]byte, 1500)); err != nil {
		log.Fatal(err)
	}

	st := session.Stats()
	again := st.FastRetransmits + st.EarlyRetransmits + st.TimeoutRetransmits
	if again > st.SegmentsSent/10 {
		log.Printf("a bad line to %v: RTT %v, %d segments sent again",
			session.RemoteAddr(), st.SRTT, again)
	}
	fmt.Println(st.BytesSent, "bytes sent,", st.BytesReceived, "received")
	fmt.Println("the peer is told when this side closes:", st.PeerExtended)
	// Output:
	// 5 bytes sent, 5 received
	// the peer is told when this side closes: true
}

// Two sessions to one server over one socket, and one goroutine.
func ExampleTransport() {
	ctx := context.Background()
	config := &Config{StreamMode: true}
	listener, err := config.Listen(ctx, "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	defer listener.Close()
	go echoTo(listener)

	transport, err := config.OpenTransport(ctx, "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	defer transport.Close()
	for _, word := range []string{"first", "other"} {
		session, err := transport.Dial(ctx, listener.Addr(), nil) // nil: the Transport's settings
		if err != nil {
			log.Fatal(err)
		}
		defer session.Close()
		session.SetDeadline(time.Now().Add(5 * time.Second))
		if _, err := session.Write([]byte(word)); err != nil {
			log.Fatal(err)
		}
		reply := make([]byte, 5)
		if _, err := io.ReadFull(session, reply); err != nil {
			log.Fatal(err)
		}
		same := session.LocalAddr().String() == transport.LocalAddr().String()
		fmt.Printf("%s, over the transport's socket: %v\n", reply, same)
	}
	// Output:
	// first, over the transport's socket: true
	// other, over the transport's socket: true
}

// A datagram that is not KCP, as of STUN, sent and received on the same socket.
func ExampleTransport_ReadNonKCP() {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	transport, err := new(Config).OpenTransport(ctx, "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	defer transport.Close()

	other, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	defer other.Close()
	if _, err := transport.WriteTo([]byte("who am I?"), other.LocalAddr()); err != nil {
		log.Fatal(err)
	}
	question := make([]byte, 100)
	n, from, err := other.ReadFrom(question)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s\n", question[:n])
	if _, err := other.WriteTo([]byte("somebody with an address"), from); err != nil {
		log.Fatal(err)
	}

	answer := make([]byte, 100)
	n, _, err = transport.ReadNonKCP(ctx, answer)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s\n", answer[:n])
	// Output:
	// who am I?
	// somebody with an address
}

// A server that echoes for any number of sessions, with one goroutine to accept them and two to
// serve them. Each session has a state of its own, here the count of its messages.
func ExampleReadyQueue() {
	listener, err := new(Config).Listen(context.Background(), "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	type player struct{ messages int }
	var queue ReadyQueue[*player]
	go func() {
		for {
			session, err := listener.AcceptKCP()
			if err != nil {
				return
			}
			if queue.Add(session, new(player)) != nil {
				session.Close()
			}
		}
	}()

	ctx, cancel := context.WithCancel(context.Background())
	var loops sync.WaitGroup
	for range 2 {
		loops.Go(func() {
			buf := make([]byte, 1500)
			for session, p := range queue.Ready(ctx) {
				n, err := session.Read(buf)
				if err != nil { // the end of the session, which Close takes out of the queue
					session.Close()
					continue
				}
				p.messages++
				if session.WriteRoom() < n {
					session.Close() // a client that receives too slowly would delay the others
					continue
				}
				fmt.Fprintf(session, "%d: %s", p.messages, buf[:n])
			}
		})
	}

	client, err := new(Config).Dial(context.Background(), listener.Addr().String())
	if err != nil {
		log.Fatal(err)
	}
	client.SetDeadline(time.Now().Add(5 * time.Second))
	for _, word := range []string{"run", "jump"} {
		if _, err := io.WriteString(client, word); err != nil {
			log.Fatal(err)
		}
		reply := make([]byte, 1500)
		n, err := client.Read(reply)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%s\n", reply[:n])
	}
	client.Close()
	cancel()
	loops.Wait()
	listener.Close()
	// Output:
	// 1: run
	// 2: jump
}

// A position is worth nothing when it is late: the next one replaces it. With a deadline it is
// dropped then, and does not delay what comes behind it.
func ExampleUDPSession_WriteMessage() {
	config := &Config{NoDelay: true, Interval: 10 * time.Millisecond} // message mode
	listener, err := config.Listen(context.Background(), "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	defer listener.Close()
	go echoTo(listener)

	session, err := config.Dial(context.Background(), listener.Addr().String())
	if err != nil {
		log.Fatal(err)
	}
	defer session.Close()
	session.SetDeadline(time.Now().Add(5 * time.Second))

	err = session.WriteMessage([]byte("x=3 y=4"), time.Now().Add(time.Second))
	if err != nil {
		log.Fatal(err) // it matches os.ErrDeadlineExceeded if there was no room in time
	}
	if _, err := session.Write([]byte("door opened")); err != nil { // arrives in any case
		log.Fatal(err)
	}
	message := make([]byte, 100)
	for range 2 {
		n, err := session.Read(message)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%s\n", message[:n])
	}
	// Output:
	// x=3 y=4
	// door opened
}
