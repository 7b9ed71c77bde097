// SPDX-License-Identifier: MIT

package main

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
)

// noise returns n bytes that follow from a seed.
func noise(n int, seed byte) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{seed}).Read(b)
	return b
}

// exchange sends data over a stream to an echo, and checks what comes back.
func exchange(st stream, data []byte) error {
	sent := make(chan error, 1)
	go func() {
		_, err := st.Write(data)
		if err == nil {
			err = st.CloseWrite()
		}
		sent <- err
	}()
	got, err := io.ReadAll(onlyReader{st})
	if err := errors.Join(err, <-sent); err != nil {
		return err
	}
	_ = st.Close() // smux returns an error if both directions have ended
	if sha256.Sum256(got) != sha256.Sum256(data) {
		return fmt.Errorf("%d bytes came back of %d, or others", len(got), len(data))
	}
	return nil
}

// variants are settings that both ends have alike.
func variants() map[string]func(*settings) {
	all := map[string]func(*settings){
		"default":     func(*settings) {},
		"smux 1":      func(s *settings) { s.smuxVersion = 1 },
		"nocomp":      func(s *settings) { s.noComp = true },
		"smux 1 bare": func(s *settings) { s.smuxVersion = 1; s.noComp = true },
		"no FEC":      func(s *settings) { s.parityShards = 0 },
		"aes-128-gcm": func(s *settings) { s.crypt = "aes-128-gcm"; s.mode = "fast3" },
		"null":        func(s *settings) { s.crypt = "null"; s.mode = "normal" },
		"two sessions, many ports": func(s *settings) {
			s.conns = 2
			s.remoteAddr, s.listen = "10.0.0.1:3000-3003", "10.0.0.1:3000-3003"
		},
	}
	if !raceEnabled {
		all["QPP"] = func(s *settings) { s.qpp = true }
	}
	return all
}
