// SPDX-License-Identifier: MIT

package main

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestEveryMeasurement runs all contenders for an instant, as a user would.
func TestEveryMeasurement(t *testing.T) {
	dir := t.TempDir()
	jsonFile, svgFile, profile := filepath.Join(dir, "r.json"), filepath.Join(dir, "r.svg"), filepath.Join(dir, "cpu.prof")
	s, err := parseSettings("bench", []string{"-quick", "-time", "25ms", "-sessions", "50",
		"-json", jsonFile, "-svg", svgFile, "-cpuprofile", profile})
	if err != nil {
		t.Fatal(err)
	}
	var out, log bytes.Buffer
	if err := run(s, &out, &log, nil); err != nil {
		t.Fatalf("%v\n%s", err, &log)
	}
	var rep report
	data, err := os.ReadFile(jsonFile)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &rep); err != nil {
		t.Fatal(err)
	}
	if got, want := len(rep.Measurements), 4; got != want {
		t.Errorf("got %d measurements, want %d", got, want)
	}
	for _, m := range rep.Measurements {
		for _, c := range m.Contenders {
			if f := c.Figures[0]; f.N != 1 || f.Median <= 0 {
				t.Errorf("%s/%s: got %+v for %s, want one positive figure", m.Name, c.Name, f.summary, f.Name)
			}
			if !strings.Contains(out.String(), c.Name) {
				t.Errorf("%s/%s is not in the table", m.Name, c.Name)
			}
		}
	}
	for _, want := range []string{"bulk, kcp : TCP", "bulk, kcp AES-128-GCM : quic-go", "64-byte echo p50, kcp : raw UDP"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("ratio %q is not in the table", want)
		}
	}
	checkXML(t, svgFile)
	if st, err := os.Stat(profile); err != nil || st.Size() == 0 {
		t.Errorf("got an empty profile or none: %v", err)
	}
}

func checkXML(t *testing.T, file string) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	bars := 0
	for d := xml.NewDecoder(bytes.NewReader(data)); ; {
		token, err := d.Token()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatalf("SVG: %v", err)
		}
		if e, ok := token.(xml.StartElement); ok && e.Name.Local == "rect" {
			bars++
		}
	}
	if bars < 20 {
		t.Errorf("got %d bars in the SVG, want 20 or more", bars)
	}
}

func TestSweepComparesWindows(t *testing.T) {
	s, err := parseSettings("bench", []string{"-sweep", "-quick", "-time", "20ms", "-run", "^sweep/kcp,", "-md"})
	if err != nil {
		t.Fatal(err)
	}
	var out, log bytes.Buffer
	if err := run(s, &out, &log, nil); err != nil {
		t.Fatalf("%v\n%s", err, &log)
	}
	for _, want := range []string{"| kcp, window 1024 ", "| kcp, window 4096 ", "| kcp, window 32768 ", "| --- | ---: |"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is missing in\n%s", want, &out)
		}
	}
}

func TestInterruptedRunReportsWhatItHas(t *testing.T) {
	s, err := parseSettings("bench", []string{"-quick"})
	if err != nil {
		t.Fatal(err)
	}
	stop := make(chan os.Signal, 1)
	stop <- os.Interrupt
	var out, log bytes.Buffer
	begin := time.Now()
	if err := run(s, &out, &log, stop); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begin); took > time.Second {
		t.Errorf("took %v, want nothing measured", took)
	}
	if !strings.Contains(log.String(), "interrupted") || !strings.Contains(out.String(), "quic-go") {
		t.Errorf("got log %q and report\n%s", &log, &out)
	}
}
