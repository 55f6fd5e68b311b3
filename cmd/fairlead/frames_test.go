package main

import (
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/fairlead-gateway/fairlead/internal/websocket"
)

// A script is a server whose words are known before.
type script struct {
	io.Reader
	said []byte
}

func (s *script) Write(p []byte) (int, error) {
	s.said = append(s.said, p...)
	return len(p), nil
}

func TestReadFeed(t *testing.T) {
	text := func(b []byte, s string) []byte {
		return websocket.AppendFrame(b, websocket.OpText, true, nil, []byte(s))
	}
	two := text(text(nil, "one"), strings.Repeat("x", 300))
	for name, c := range map[string]struct {
		bytes []byte
		lines int
		err   string
	}{
		"1000":       {websocket.AppendClose(slices.Clone(two), nil, websocket.Normal, "over"), 2, ""},
		"1001":       {websocket.AppendClose(slices.Clone(two), nil, websocket.GoingAway, "stops"), 2, "closed by the gateway: 1001 stops"},
		"cut":        {two[:len(two)-1], 1, "unexpected EOF"},
		"a Pong":     {websocket.AppendClose(websocket.AppendFrame(nil, websocket.OpPong, true, nil, nil), nil, websocket.Normal, ""), 0, ""},
		"masked":     {websocket.AppendFrame(nil, websocket.OpText, true, &[4]byte{1}, []byte("x")), 0, "a frame of 1 bytes"},
		"too large":  {text(nil, strings.Repeat("x", maxFeedLine)), 0, "a frame of 65536 bytes"},
		"no printer": {two, 0, "full"},
	} {
		s, lines := &script{Reader: strings.NewReader(string(c.bytes))}, 0
		err := readFeed(s, func([]byte) error {
			if name == "no printer" {
				return errors.New("full")
			}
			lines++
			return nil
		})
		if lines != c.lines || c.err == "" && err != nil || c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)) {
			t.Errorf("%s: %d lines, %v; want %d, %q", name, lines, err, c.lines, c.err)
		}
		if closed := len(s.said) > 0; closed != (name == "1000" || name == "1001" || name == "a Pong") {
			t.Errorf("%s: answered %x", name, s.said)
		}
	}
}

func TestShownFrame(t *testing.T) {
	for in, want := range map[string]string{
		`{"event":"dropped","count":7}`: "7 frames not shown",
		`{"event":"ended"}`:             "the session has ended",
		`{"from":"client","to":"upstream","opcode":"text","fin":true,"size":3,"payload":"a\u001b[2J"}`:                   `client   > upstream  text               3 B  "a\x1b[2J"`,
		`{"from":"gateway","to":"client","opcode":"close","fin":true,"size":9,"close_code":1001,"close_reason":"bye\n"}`: `gateway  > client    close              9 B  1001 "bye\n"`,
		`{"from":"upstream","to":"client","opcode":"binary","compressed":true,"size":70000,"payload_base64":"AP8="}`:     `upstream > client    binary         70000 B  continues  compressed  00ff`,
	} {
		var f shownFrame
		if err := json.Unmarshal([]byte(in), &f); err != nil {
			t.Fatal(err)
		}
		if got := f.String(); !strings.HasSuffix(got, want) {
			t.Errorf("%s: %q, want %q", in, got, want)
		}
	}
}
