// SPDX-License-Identifier: MIT

package main

import (
	"bufio"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
)

// machine is where the figures come from.
type machine struct {
	CPU    string `json:"cpu"`
	Cores  int    `json:"cores"`
	Kernel string `json:"kernel"`
	Go     string `json:"go"`
	Arch   string `json:"arch"`
	QUIC   string `json:"quic_go"`
}

func findMachine() machine {
	return machine{
		CPU: cpuModel("/proc/cpuinfo"), Cores: runtime.GOMAXPROCS(0), Kernel: kernelRelease(),
		Go: runtime.Version(), Arch: runtime.GOARCH, QUIC: moduleVersion("github.com/quic-go/quic-go"),
	}
}

func (m machine) String() string {
	cores := "cores"
	if m.Cores == 1 {
		cores = "core"
	}
	parts := []string{m.CPU, fmt.Sprintf("%d %s", m.Cores, cores), m.Kernel, m.Go + " " + m.Arch}
	if m.QUIC != "" {
		parts = append(parts, "quic-go "+m.QUIC)
	}
	return strings.Join(parts, " · ")
}

// cpuModel returns the model name from Linux's list of processors, or the name
// of the architecture where there is no such list.
func cpuModel(list string) string {
	f, err := os.Open(list)
	if err != nil {
		return runtime.GOARCH
	}
	defer f.Close()
	model := runtime.GOARCH
	for lines := bufio.NewScanner(f); lines.Scan(); {
		key, value, _ := strings.Cut(lines.Text(), ":")
		if strings.TrimSpace(key) == "model name" {
			model = strings.TrimSpace(value)
			break
		}
	}
	return model
}

func moduleVersion(path string) string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	for _, d := range info.Deps {
		if d.Path == path {
			return d.Version
		}
	}
	return ""
}
