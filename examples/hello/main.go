// SPDX-License-Identifier: MIT

// Hello sends a line from a client to a server over KCP, in one process, and prints the answer:
//
//	go run ./examples/hello
package main

import (
	"bufio"
	"context"
	"fmt"
	"log"
	"net"

	"github.com/seedkcp/kcp"
)

func main() {
	answer, err := hello(context.Background(), "world")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Print(answer)
}

// hello starts a server on a free port of the loopback interface, dials it, and returns its answer.
func hello(ctx context.Context, name string) (string, error) {
	config := &kcp.Config{StreamMode: true, NoDelay: true}
	listener, err := config.Listen(ctx, "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer listener.Close()
	go serve(listener)

	conn, err := config.Dial(ctx, listener.Addr().String())
	if err != nil {
		return "", err
	}
	defer conn.Close()
	fmt.Fprintln(conn, name)
	return bufio.NewReader(conn).ReadString('\n')
}

// serve greets one client.
func serve(listener net.Listener) {
	conn, err := listener.Accept()
	if err != nil {
		return
	}
	defer conn.Close()
	name, _ := bufio.NewReader(conn).ReadString('\n')
	fmt.Fprint(conn, "hello, ", name)
}
