// SPDX-License-Identifier: MIT

package kcp

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"os"
	"testing"
)

type fecVector struct {
	DataShards, ParityShards int
	Payloads, Packets        []fecHex
}

type fecHex []byte

func (h *fecHex) UnmarshalText(text []byte) (err error) {
	*h, err = hex.DecodeString(string(text))
	return err
}

func fecVectors(t testing.TB) []fecVector {
	t.Helper()
	raw, err := os.ReadFile("testdata/fec.json")
	if err != nil {
		t.Fatal(err)
	}
	var vectors []fecVector
	if err := json.Unmarshal(raw, &vectors); err != nil {
		t.Fatal(err)
	}
	return vectors
}

func TestFECEncoderOutputIsWhatDeployedPeersSend(t *testing.T) {
	for _, v := range fecVectors(t) {
		e, err := newFECEncoder(v.DataShards, v.ParityShards)
		if err != nil {
			t.Fatal(err)
		}
		defer e.release()
		var got [][]byte
		for _, payload := range v.Payloads {
			packet := append(make([]byte, fecHeaderSize), payload...)
			n := e.encode(packet, 1000)
			got = append(got, packet)
			for i := range n {
				got = append(got, bytes.Clone(e.parity(i)))
			}
		}
		if len(got) != len(v.Packets) {
			t.Fatalf("%d/%d: got %d packets, want %d", v.DataShards, v.ParityShards, len(got), len(v.Packets))
		}
		for i, want := range v.Packets {
			if !bytes.Equal(got[i], want) {
				t.Errorf("%d/%d packet %d: got %x, want %x", v.DataShards, v.ParityShards, i, got[i], want)
			}
		}
	}
}
