// SPDX-License-Identifier: MIT

package main

import "testing"

func TestHello(t *testing.T) {
	got, err := hello(t.Context(), "gopher")
	if err != nil || got != "hello, gopher\n" {
		t.Errorf("got %q, %v", got, err)
	}
}
