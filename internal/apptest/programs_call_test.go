// SPDX-License-Identifier: MIT

package apptest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/rpc"
	"sync"
	"time"

	"github.com/gorilla/websocket"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// httpProgram is HTTP/2 over TLS, by net/http alone.
func httpProgram() program {
	serve := func(l net.Listener, h *handler) (func() error, error) {
		config, err := serverTLS()
		if err != nil {
			return nil, err
		}
		s := &http.Server{TLSConfig: config, ErrorLog: log.New(io.Discard, "", 0),
			Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				request, err := io.ReadAll(r.Body)
				if err != nil {
					h.ended(err)
					return
				}
				b, ok := h.answer(request)
				if !ok {
					<-r.Context().Done()
					h.ended(r.Context().Err())
					return
				}
				_, _ = w.Write(b)
			})}
		served := make(chan error, 1)
		go func() { served <- s.ServeTLS(l, "", "") }()
		return func() error {
			err := s.Close()
			<-served
			return err
		}, nil
	}
	dial := func(open func() (net.Conn, error)) (client, error) {
		c := new(httpClient)
		c.transport = &http.Transport{
			TLSClientConfig: clientTLS(), ForceAttemptHTTP2: true,
			DialContext: func(context.Context, string, string) (net.Conn, error) {
				conn, err := open()
				if err == nil {
					c.conns.add(conn)
				}
				return conn, err
			},
		}
		return c, nil
	}
	return program{name: "net/http, HTTP/2", serve: serve, dial: dial}
}

type httpClient struct {
	transport *http.Transport
	conns     connections
}

func (c *httpClient) call(request []byte) ([]byte, error) {
	r, err := http.NewRequest(http.MethodPost, "https://server/", bytes.NewReader(request))
	if err != nil {
		return nil, err
	}
	resp, err := c.transport.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.ProtoMajor != 2 {
		return nil, fmt.Errorf("the protocol is %s", resp.Proto)
	}
	return io.ReadAll(resp.Body)
}

func (c *httpClient) Close() error {
	c.transport.CloseIdleConnections()
	err := c.conns.close()
	c.transport.CloseIdleConnections()
	if errors.Is(err, net.ErrClosed) {
		return nil // it was idle
	}
	return err
}

func grpcProgram() program {
	serve := func(l net.Listener, h *handler) (func() error, error) {
		handler := func(_ any, ctx context.Context, decode func(any) error,
			_ grpc.UnaryServerInterceptor) (any, error) {
			request := new(wrapperspb.BytesValue)
			if err := decode(request); err != nil {
				return nil, err
			}
			b, ok := h.answer(request.Value)
			if !ok {
				<-ctx.Done()
				h.ended(ctx.Err())
				return nil, ctx.Err()
			}
			return wrapperspb.Bytes(b), nil
		}
		s := grpc.NewServer()
		s.RegisterService(&grpc.ServiceDesc{
			ServiceName: "exchange", HandlerType: (*any)(nil),
			Methods: []grpc.MethodDesc{{MethodName: "Call", Handler: handler}},
		}, nil)
		served := make(chan error, 1)
		go func() { served <- s.Serve(l) }()
		return func() error {
			s.Stop()
			return <-served
		}, nil
	}
	dial := func(open func() (net.Conn, error)) (client, error) {
		c, err := grpc.NewClient("passthrough:///server",
			grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithContextDialer(func(context.Context, string) (net.Conn, error) { return open() }))
		return &grpcClient{c}, err
	}
	return program{name: "grpc-go", serve: serve, dial: dial}
}

type grpcClient struct{ *grpc.ClientConn }

func (c *grpcClient) call(request []byte) ([]byte, error) {
	out := new(wrapperspb.BytesValue)
	err := c.Invoke(context.Background(), "/exchange/Call", wrapperspb.Bytes(request), out)
	return out.Value, err
}

// rpcService is what net/rpc calls.
type rpcService struct {
	h    *handler
	gone <-chan struct{} // closed when the connection has ended
}

// Exchange answers a request.
func (s *rpcService) Exchange(request []byte, b *[]byte) error {
	var ok bool
	if *b, ok = s.h.answer(request); !ok {
		<-s.gone
	}
	return nil
}

// noted is a connection of which the first error of Read is noted: net/rpc does not report it.
type noted struct {
	net.Conn
	note func(error)
}

func (c *noted) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if err != nil {
		c.note(err)
	}
	return n, err
}

func rpcProgram() program {
	serve := func(l net.Listener, h *handler) (func() error, error) {
		return serveEach(l, func(conn net.Conn, c *connections) {
			gone := make(chan struct{})
			var once sync.Once
			s := rpc.NewServer()
			if err := s.RegisterName("Service", &rpcService{h, gone}); err != nil {
				h.ended(err)
				return
			}
			c.add(conn)
			s.ServeConn(&noted{conn, func(err error) {
				once.Do(func() {
					h.ended(err)
					close(gone)
				})
			}})
		})
	}
	dial := func(open func() (net.Conn, error)) (client, error) {
		conn, err := open()
		if err != nil {
			return nil, err
		}
		return &rpcClient{rpc.NewClient(conn)}, nil
	}
	return program{name: "net/rpc", serve: serve, dial: dial}
}

type rpcClient struct{ *rpc.Client }

func (c *rpcClient) call(request []byte) (b []byte, err error) {
	err = c.Call("Service.Exchange", request, &b)
	return b, err
}

func websocketProgram() program {
	serve := func(l net.Listener, h *handler) (func() error, error) {
		var c connections
		s := &http.Server{ErrorLog: log.New(io.Discard, "", 0), Handler: http.HandlerFunc(
			func(w http.ResponseWriter, r *http.Request) {
				conn, err := new(websocket.Upgrader).Upgrade(w, r, nil)
				if err != nil {
					h.ended(err)
					return
				}
				c.add(websocketCloser{conn})
				h.ended(h.serveMessages(conn))
				_ = conn.Close()
			})}
		c.all.Go(func() { _ = s.Serve(l) })
		return func() error { return errors.Join(c.close(), s.Close(), c.wait()) }, nil
	}
	dial := func(open func() (net.Conn, error)) (client, error) {
		d := websocket.Dialer{NetDialContext: func(context.Context, string, string) (net.Conn, error) {
			return open()
		}}
		conn, _, err := d.Dial("ws://server/", nil)
		return &websocketClient{websocketCloser{conn}, make(chan struct{}, 1)}, err
	}
	return program{name: "gorilla/websocket", serve: serve, dial: dial}
}

func (h *handler) serveMessages(conn *websocket.Conn) error {
	for {
		_, request, err := conn.ReadMessage()
		if err != nil {
			return err
		}
		if b, ok := h.answer(request); ok {
			if err := conn.WriteMessage(websocket.BinaryMessage, b); err != nil {
				return err
			}
		}
	}
}

// websocketCloser ends a connection as the protocol demands.
type websocketCloser struct{ *websocket.Conn }

func (c websocketCloser) Close() error {
	_ = c.WriteControl(websocket.CloseMessage,
		websocket.FormatCloseMessage(websocket.CloseNormalClosure, ""), time.Now().Add(time.Second))
	return c.Conn.Close()
}

type websocketClient struct {
	websocketCloser
	busy chan struct{} // has an element during a call
}

func (c *websocketClient) call(request []byte) ([]byte, error) {
	c.busy <- struct{}{}
	defer func() { <-c.busy }()
	if err := c.WriteMessage(websocket.BinaryMessage, request); err != nil {
		return nil, err
	}
	_, b, err := c.ReadMessage()
	return b, err
}
