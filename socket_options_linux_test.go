// SPDX-License-Identifier: MIT

package kcp

import (
	"testing"

	"golang.org/x/sys/unix"
)

func TestDSCPMarksBothFamilies(t *testing.T) {
	for _, tt := range []struct {
		address       string
		level, option int
	}{
		{"127.0.0.1:0", unix.IPPROTO_IP, unix.IP_TOS},
		{"[::]:0", unix.IPPROTO_IPV6, unix.IPV6_TCLASS},
	} {
		if tt.address[0] == '[' && !batchTestHasIPv6() {
			continue
		}
		conn := batchSocket(t, tt.address)
		if err := setDSCP(conn, 46); err != nil {
			t.Fatal(err)
		}
		raw, _ := conn.SyscallConn()
		_ = raw.Control(func(fd uintptr) {
			if got, err := unix.GetsockoptInt(int(fd), tt.level, tt.option); got != 46<<2 ||
				err != nil {
				t.Errorf("%s: traffic class %d, %v, want %d", tt.address, got, err, 46<<2)
			}
			got, err := unix.GetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_TOS)
			if got != 46<<2 || err != nil {
				t.Errorf("%s: TOS %d, %v, want %d", tt.address, got, err, 46<<2)
			}
		})
	}
}
