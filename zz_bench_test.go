package kcp
import "testing"
func BenchmarkZZEcho64(b *testing.B) { echoSpeed(b, 64) }
