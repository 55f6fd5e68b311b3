package http1

import (
	"strings"
	"testing"
)

func TestHeadEnd(t *testing.T) {
	for _, tt := range []struct {
		p   string
		end int // -1: not yet
	}{
		{"", -1},
		{"\r", -1},
		{"\r\n", -1},
		{"\r\n\r\n", -1},
		{"\r\n\r\nGET / HTTP/1.1\r\n", -1},
		{"GET / HTTP/1.1\r\nA: b\r\n\r", -1},
		{"GET / HTTP/1.1\r\nA: b\r\n\r\n", 24},
		{"GET / HTTP/1.1\r\n\r\nGET", 18},
		{"\r\nGET / HTTP/1.1\r\n\r\nGET", 20},
		{strings.Repeat("\r\n", 4), -1},
		{strings.Repeat("\r\n", 5), 10},
		{"GET /\nA", 6},
		{"GET /\r\nA: b\n\r\n", 12},
		{"\nGET", 1},
		{"\r\n\nGET", 3},
		{"GET /\r\n\nA", 8},
	} {
		// Whole, and one byte at a time as a growing buffer.
		for _, step := range []int{len(tt.p) + 1, 1} {
			end, from := -1, 0
			for n := min(step, len(tt.p)); ; n = min(n+step, len(tt.p)) {
				if e, ok := HeadEnd([]byte(tt.p[:n]), from); ok {
					end = e
					break
				}
				if from = n; n == len(tt.p) {
					break
				}
			}
			if end != tt.end {
				t.Errorf("%q in steps of %d: %d, want %d", tt.p, step, end, tt.end)
			}
		}
	}
}

func TestIsHTTP2Preface(t *testing.T) {
	preface := "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
	for n := range len(preface) {
		if yes, maybe := IsHTTP2Preface([]byte(preface[:n])); yes || !maybe {
			t.Errorf("%q: %v, %v", preface[:n], yes, maybe)
		}
		if yes, maybe := IsHTTP2Preface([]byte(preface[:n] + "x")); yes || maybe {
			t.Errorf("%q: %v, %v", preface[:n]+"x", yes, maybe)
		}
	}
	for _, more := range []string{"", "\x00\x00"} {
		if yes, maybe := IsHTTP2Preface([]byte(preface + more)); !yes || maybe {
			t.Errorf("%q: %v, %v", preface+more, yes, maybe)
		}
	}
}

// TestTextEnd compares the eight bytes at a time with one byte at a time, at every position and for every byte.
func TestTextEnd(t *testing.T) {
	for length := range 20 {
		for at := range length {
			for c := range 256 {
				p := []byte(strings.Repeat("v", length))
				p[at] = byte(c)
				want := length
				if control(byte(c)) {
					want = at
				}
				if got := textEnd(string(p), 0); got != want {
					t.Fatalf("%q: %d, want %d", p, got, want)
				}
				p[length-1] = '\n'
				if at < length-1 && want == length {
					want = length - 1
				}
				if got := textEnd(string(p), 0); at < length-1 && got != want {
					t.Fatalf("%q: %d, want %d", p, got, want)
				}
			}
		}
	}
}
