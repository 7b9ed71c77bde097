// SPDX-License-Identifier: MIT

package main

import (
	"crypto/sha256"
	"errors"
	"io"
	"os"
	"strings"
	"syscall"
	"testing"
)

func TestFullDiskIsSaidAndRoomLetsItGoOn(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=512k"); err != nil {
		t.Skipf("no small file system to fill: %v", err)
	}
	// Registered first, so that it runs when the receiver is gone.
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Errorf("cannot unmount %s: %v", dir, err)
		}
	})
	addr, out := startReceiver(t, dir)
	data := testData(4 << 20)
	path := writeFile(t, "data.bin", data)
	status, stdout, stderr := sendRun(t, addr, path)
	if status != 1 || !strings.Contains(stderr, "disk is full") {
		t.Fatalf("exit status %d, %q; want 1 and that the disk is full; output:\n%s", status, stderr, stdout)
	}
	if line := <-out.lines; !strings.Contains(line, "no space left on device") {
		t.Errorf("the receiver says %q, want the system's error", line)
	}

	if err := syscall.Mount("tmpfs", dir, "tmpfs", syscall.MS_REMOUNT, "size=16m"); err != nil {
		t.Fatal(err)
	}
	status, stdout, stderr = sendRun(t, addr, path)
	if status != 0 || !strings.Contains(stdout, "going on from") {
		t.Errorf("with room: exit status %d, %q; want 0 and that it goes on:\n%s", status, stderr, stdout)
	}
	wantFiles(t, dir, map[string][]byte{"data.bin": data})
}

func TestErrorOfAFullDeviceIsRecognised(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip(err)
	}
	defer full.Close()
	err = copyExactly(io.MultiWriter(full, sha256.New()), strings.NewReader("data"), 4)
	if !errors.Is(err, errDiskFull) || !strings.Contains(reason(err), "disk is full") {
		t.Errorf("got %v (%s), want a full disk", err, reason(err))
	}
}
