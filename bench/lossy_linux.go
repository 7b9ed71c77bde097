// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// inNetwork is set in a program that runs in a network namespace of its own.
const inNetwork = "KCP_BENCH_NETWORK"

// enterNetwork runs the program again in a network namespace of its own, which
// is gone when it ends, unless it is inside already.
func enterNetwork(out, log io.Writer) (inside bool, err error) {
	if os.Getenv(inNetwork) != "" {
		return true, nil
	}
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), inNetwork+"=1")
	cmd.Stdout, cmd.Stderr = out, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	if uid := os.Getuid(); uid != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: uid, Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	if err := cmd.Run(); err != nil {
		return false, fmt.Errorf("in a network namespace: %w", err)
	}
	return false, nil
}

var linesOpened atomic.Int32

// firstServer is below the ports that the kernel gives to clients, so that swap tells both apart.
const firstServer = 4000

// openLine makes a line, which ends with ctx.
func openLine(ctx context.Context, s lineSettings) (path, error) {
	n := linesOpened.Add(1)
	// The network for benchmarks (RFC 2544, appendix C).
	host := [4]byte{198, 18 + byte(n>>8&1), byte(n), 1}
	peer := host
	peer[3] = 2
	device, err := openTUN(fmt.Sprintf("lossy%d", n), host)
	if err != nil {
		return path{}, err
	}
	context.AfterFunc(ctx, func() { device.Close() })
	p := path{port: new(atomic.Int32), meter: new(meter), rtt: s.rtt}
	p.port.Store(firstServer)
	go carry(device, s, p.meter)
	dotted := func(a [4]byte) string { return fmt.Sprintf("%d.%d.%d.%d", a[0], a[1], a[2], a[3]) }
	p.listen, p.dial = dotted(host), dotted(peer)
	return p, nil
}

// openTUN makes a TUN device that has the address and leads to its /24
// (Linux, Documentation/networking/tuntap.rst and netdevice(7)).
func openTUN(name string, host [4]byte) (*os.File, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("/dev/net/tun: %w", err)
	}
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	defer unix.Close(s)
	for _, step := range []struct {
		fd      int
		request uint
		set     func(r *unix.Ifreq) error
	}{
		{fd, unix.TUNSETIFF, func(r *unix.Ifreq) error { r.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI); return nil }},
		{s, unix.SIOCSIFADDR, func(r *unix.Ifreq) error { return r.SetInet4Addr(host[:]) }},
		{s, unix.SIOCSIFNETMASK, func(r *unix.Ifreq) error { return r.SetInet4Addr([]byte{255, 255, 255, 0}) }},
		{s, unix.SIOCSIFFLAGS, func(r *unix.Ifreq) error { r.SetUint16(unix.IFF_UP | unix.IFF_RUNNING); return nil }},
		{s, unix.SIOCSIFTXQLEN, func(r *unix.Ifreq) error { r.SetUint32(1000); return nil }},
	} {
		r, err := unix.NewIfreq(name)
		if err == nil {
			err = step.set(r)
		}
		if err == nil {
			_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(step.fd), uintptr(step.request), uintptr(unsafe.Pointer(r)))
			if errno != 0 {
				err = errno
			}
		}
		if err != nil {
			unix.Close(fd)
			return nil, fmt.Errorf("TUN device %s: %w", name, err)
		}
	}
	// Not earlier: the runtime's poller reports an error for a descriptor without a device.
	return os.NewFile(uintptr(fd), "/dev/net/tun"), nil
}

// setCongestionControl chooses the kernel's algorithm (tcp(7), TCP_CONGESTION).
func setCongestionControl(c *net.TCPConn, name string) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	if err := raw.Control(func(fd uintptr) {
		failed = unix.SetsockoptString(int(fd), unix.IPPROTO_TCP, unix.TCP_CONGESTION, name)
	}); err != nil {
		return err
	}
	return failed
}
