// SPDX-License-Identifier: MIT

package kcp

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"hash/crc32"
	"io"
	"testing"

	"golang.org/x/crypto/chacha20poly1305"
)

// benchPacket is a full packet of the usual MTU.
const benchPacket = 1400

// benchCrypt encrypts and decrypts one packet per operation.
func benchCrypt(b *testing.B, keySize int, newCrypt func(key []byte) (BlockCrypt, error)) {
	block, err := newCrypt(cryptRandom(1, keySize))
	if err != nil {
		b.Fatal(err)
	}
	packet := cryptRandom(2, benchPacket)
	b.ReportAllocs()
	b.SetBytes(2 * benchPacket)
	for b.Loop() {
		block.Encrypt(packet, packet)
		block.Decrypt(packet, packet)
	}
}

func BenchmarkSM4(b *testing.B)      { benchCrypt(b, 16, NewSM4BlockCrypt) }
func BenchmarkAES128(b *testing.B)   { benchCrypt(b, 16, NewAESBlockCrypt) }
func BenchmarkAES192(b *testing.B)   { benchCrypt(b, 24, NewAESBlockCrypt) }
func BenchmarkAES256(b *testing.B)   { benchCrypt(b, 32, NewAESBlockCrypt) }
func BenchmarkTEA(b *testing.B)      { benchCrypt(b, 16, NewTEABlockCrypt) }
func BenchmarkXOR(b *testing.B)      { benchCrypt(b, 32, NewSimpleXORBlockCrypt) }
func BenchmarkBlowfish(b *testing.B) { benchCrypt(b, 32, NewBlowfishBlockCrypt) }
func BenchmarkNone(b *testing.B)     { benchCrypt(b, 32, NewNoneBlockCrypt) }
func BenchmarkCast5(b *testing.B)    { benchCrypt(b, 16, NewCast5BlockCrypt) }
func Benchmark3DES(b *testing.B)     { benchCrypt(b, 24, NewTripleDESBlockCrypt) }
func BenchmarkTwofish(b *testing.B)  { benchCrypt(b, 32, NewTwofishBlockCrypt) }
func BenchmarkXTEA(b *testing.B)     { benchCrypt(b, 16, NewXTEABlockCrypt) }
func BenchmarkSalsa20(b *testing.B)  { benchCrypt(b, 32, NewSalsa20BlockCrypt) }

// benchOneWay measures one direction of a BlockCrypt.
func benchOneWay(b *testing.B, transform func(dst, src []byte)) {
	packet := cryptRandom(2, benchPacket)
	b.ReportAllocs()
	b.SetBytes(benchPacket)
	for b.Loop() {
		transform(packet, packet)
	}
}

// BenchmarkCFBBesideBlockCalls measures each direction of the CFB loop beside the block cipher's
// calls that it needs. For encryption each call waits for the result of the one before, for
// decryption none does.
func BenchmarkCFBBesideBlockCalls(b *testing.B) {
	for _, size := range []int{16, 24, 32} {
		key := cryptRandom(1, size)
		block, err := aes.NewCipher(key)
		if err != nil {
			b.Fatal(err)
		}
		crypt := newCFB(block)
		name := map[int]string{16: "AES128", 24: "AES192", 32: "AES256"}[size]
		b.Run(name+"/encrypt", func(b *testing.B) { benchOneWay(b, crypt.Encrypt) })
		b.Run(name+"/chained-calls", func(b *testing.B) {
			chain := make([]byte, aes.BlockSize)
			benchOneWay(b, func(_, src []byte) {
				for range (len(src) + aes.BlockSize - 1) / aes.BlockSize {
					block.Encrypt(chain, chain)
				}
			})
		})
		b.Run(name+"/decrypt", func(b *testing.B) { benchOneWay(b, crypt.Decrypt) })
		b.Run(name+"/independent-calls", func(b *testing.B) {
			benchOneWay(b, func(dst, src []byte) {
				for i := 0; i+aes.BlockSize <= len(src); i += aes.BlockSize {
					block.Encrypt(dst[i:], src[i:])
				}
			})
		})
	}
}

func BenchmarkSM4OneWay(b *testing.B) {
	crypt, err := NewSM4BlockCrypt(cryptRandom(1, 16))
	if err != nil {
		b.Fatal(err)
	}
	b.Run("encrypt", func(b *testing.B) { benchOneWay(b, crypt.Encrypt) })
	b.Run("decrypt", func(b *testing.B) { benchOneWay(b, crypt.Decrypt) })
}

// benchSink keeps results alive.
var benchSink uint32

func BenchmarkCRC32(b *testing.B) {
	packet := cryptRandom(2, benchPacket)
	b.ReportAllocs()
	b.SetBytes(benchPacket)
	for b.Loop() {
		benchSink = crc32.ChecksumIEEE(packet)
	}
}

// benchEntropy draws one nonce of 16 bytes per operation.
func benchEntropy(b *testing.B, source io.Reader) {
	nonce := make([]byte, cryptNonceSize)
	b.ReportAllocs()
	b.SetBytes(cryptNonceSize)
	for b.Loop() {
		if _, err := source.Read(nonce); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCsprngSystem(b *testing.B)  { benchEntropy(b, NewEntropy()) }
func BenchmarkCsprngAES128(b *testing.B)  { benchEntropy(b, NewEntropyAES()) }
func BenchmarkCsprngChacha8(b *testing.B) { benchEntropy(b, NewEntropyChacha8()) }
func BenchmarkCsprngParallel(b *testing.B) {
	for name, source := range map[string]io.Reader{
		"System": NewEntropy(), "AES128": NewEntropyAES(), "Chacha8": NewEntropyChacha8(),
		"OneLock": lockedReader{cryptErrReader{}},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				nonce := make([]byte, cryptNonceSize)
				for pb.Next() {
					source.Read(nonce)
				}
			})
		})
	}
}

// benchSealer seals and opens one packet per operation, as the packet path does.
func benchSealer(b *testing.B, keySize int, newCrypt func(key []byte) (BlockCrypt, error)) {
	block, err := newCrypt(cryptRandom(1, keySize))
	if err != nil {
		b.Fatal(err)
	}
	s := newSealer(block)
	packet := cryptRandom(2, benchPacket)
	b.ReportAllocs()
	b.SetBytes(2 * benchPacket)
	for b.Loop() {
		if err := s.seal(packet); err != nil {
			b.Fatal(err)
		}
		if _, ok := s.open(packet); !ok {
			b.Fatal("did not open")
		}
	}
}

func BenchmarkCFB_AES_128_CRC32(b *testing.B) { benchSealer(b, 16, NewAESBlockCrypt) }
func BenchmarkAEAD_AES_128_GCM(b *testing.B)  { benchSealer(b, 16, NewAESGCMCrypt) }
func BenchmarkCFB_Salsa20_CRC32(b *testing.B) { benchSealer(b, 32, NewSalsa20BlockCrypt) }
func BenchmarkAEAD_Chacha20_Poly1305(b *testing.B) {
	benchSealer(b, 32, cryptFromAEAD(chacha20poly1305.New))
}

// BenchmarkAEADBesideCryptoCipher measures crypto/cipher alone on the packet of
// BenchmarkAEAD_AES_128_GCM, with a counter for a nonce.
func BenchmarkAEADBesideCryptoCipher(b *testing.B) {
	block, err := aes.NewCipher(cryptRandom(1, 16))
	if err != nil {
		b.Fatal(err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		b.Fatal(err)
	}
	packet := cryptRandom(2, benchPacket)
	nonce, body := packet[:12], packet[12:]
	b.ReportAllocs()
	b.SetBytes(2 * benchPacket)
	for count := uint64(0); b.Loop(); count++ {
		binary.LittleEndian.PutUint64(nonce, count)
		aead.Seal(body[:0], nonce, body[:len(body)-16], nil)
		if _, err := aead.Open(body[:0], nonce, body, nil); err != nil {
			b.Fatal(err)
		}
	}
}

// benchUnderK seals and opens full packets as sessions without keys of their own do.
func benchUnderK(b *testing.B, block BlockCrypt, err error) {
	if err != nil {
		b.Fatal(err)
	}
	dials, _ := newSealer(block).forBothSides(new(nonceSet))
	packet := make([]byte, benchPacket)
	b.ReportAllocs()
	b.SetBytes(benchPacket)
	for b.Loop() {
		if dials.seal(packet) != nil {
			b.Fatal("not sealed")
		}
		if _, ok := dials.open(packet); !ok {
			b.Fatal("not opened")
		}
	}
}

// benchUnderSessionKeys seals and opens full packets under a session's keys.
func benchUnderSessionKeys(b *testing.B, suite packetSuite) {
	k, s, o := sessionKeyPair(b, suite)
	scratch, packet := new(sessionScratch), make([]byte, benchPacket)
	b.ReportAllocs()
	b.SetBytes(benchPacket)
	for b.Loop() {
		if s.session.keys.sent.Load() >= sessionKeyMost-1 {
			s.session.keys.sent.Store(0)
			o.window.begin(0)
		}
		if s.seal(packet) != nil {
			b.Fatal("not sealed")
		}
		_, counter, _ := k.unmask(packet, scratch)
		if _, _, ok := o.open(packet, counter, scratch); !ok {
			b.Fatal("not opened")
		}
	}
}

// BenchmarkPacketKeys compares the cost of a packet under session keys with that under the
// pre-shared key.
func BenchmarkPacketKeys(b *testing.B) {
	for _, c := range []struct {
		name string
		make func(key []byte) (BlockCrypt, error)
		key  int
	}{
		{"AES-128-GCM", NewAESGCMCrypt, 16}, {"AES-256-GCM", NewAESGCMCrypt, 32},
		{"XChaCha20-Poly1305", NewXChaCha20Poly1305Crypt, 32},
	} {
		b.Run("K/"+c.name, func(b *testing.B) {
			block, err := c.make(cryptRandom(1, c.key))
			benchUnderK(b, block, err)
		})
	}
	b.Run("session/AES-128-GCM", func(b *testing.B) { benchUnderSessionKeys(b, suiteAES128) })
	b.Run("session/AES-256-GCM", func(b *testing.B) { benchUnderSessionKeys(b, suiteAESGCM) })
	b.Run("session/ChaCha20-Poly1305", func(b *testing.B) {
		benchUnderSessionKeys(b, suiteChaCha20)
	})
}

// BenchmarkHandshake is what a listener computes for a session: KEX1 is read and KEX2 made.
func BenchmarkHandshake(b *testing.B) {
	k := kexSource(b, make([]byte, 32), suiteAESGCM)
	prologue := kexPrologue(1, 2, 3)
	_, message, err := k.ask(prologue, 1, nil)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := k.answer(prologue, message, kexPeer{id: 2}, new(packetKeys), nil); err != nil {
			b.Fatal(err)
		}
	}
}
