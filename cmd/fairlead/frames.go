package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/fairlead-gateway/fairlead/internal/websocket"
)

type sessionsFramesCommand struct {
	clientFlags
	ID      string `arg:"" help:"sessionId of the list."`
	Payload int    `help:"Show so many bytes of each payload, 4096 at most, with what looks like a secret redacted. Default: none."`
}

// maxFeedLine bounds one message of the gateway, in bytes.
const maxFeedLine = 64 << 10

// shownFrame is a line of the feed, as far as it is printed.
type shownFrame struct {
	Time       time.Time `json:"time"`
	Event      string    `json:"event"`
	Count      int64     `json:"count"`
	From       string    `json:"from"`
	To         string    `json:"to"`
	Opcode     string    `json:"opcode"`
	Fin        bool      `json:"fin"`
	Compressed bool      `json:"compressed"`
	Size       int64     `json:"size"`
	Code       int       `json:"close_code"`
	Reason     string    `json:"close_reason"`
	Payload    string    `json:"payload"`
	Binary     []byte    `json:"payload_base64"`
}

// String is the line for a person. What comes from peers is quoted: it must not reach a terminal as it is.
func (f *shownFrame) String() string {
	at := f.Time.Local().Format("15:04:05.000")
	switch f.Event {
	case "":
	case "dropped":
		return fmt.Sprintf("%d frames not shown", f.Count)
	case "ended":
		return "the session has ended"
	default:
		return at + "  " + f.Event
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s  %-8s > %-8s  %-12s %7d B", at, f.From, f.To, f.Opcode, f.Size)
	if !f.Fin {
		b.WriteString("  continues")
	}
	if f.Compressed {
		b.WriteString("  compressed")
	}
	if f.Code != 0 {
		fmt.Fprintf(&b, "  %d %q", f.Code, f.Reason)
	}
	if f.Payload != "" {
		fmt.Fprintf(&b, "  %q", f.Payload)
	}
	if len(f.Binary) > 0 {
		fmt.Fprintf(&b, "  %x", f.Binary)
	}
	return b.String()
}

// Run prints the frames of one session until it ends.
func (c *sessionsFramesCommand) Run() error {
	feed, err := c.open("/application/websockets/" + url.PathEscape(c.ID) + "/frames?payload=" + strconv.Itoa(c.Payload))
	if err != nil {
		return err
	}
	defer feed.Close()
	return readFeed(feed, func(text []byte) error {
		if c.JSON {
			_, err := fmt.Fprintf(os.Stdout, "%s\n", text)
			return err
		}
		var f shownFrame
		if err := json.Unmarshal(text, &f); err != nil {
			return fmt.Errorf("%s: answer: %w", c.Gateway, err)
		}
		_, err := fmt.Println(f.String())
		return err
	})
}

// open shakes hands for a WebSocket of the gateway.
func (c *clientFlags) open(path string) (io.ReadWriteCloser, error) {
	client, err := c.client()
	if err != nil {
		return nil, err
	}
	password, err := c.password()
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequest(http.MethodGet, strings.TrimSuffix(c.Gateway, "/")+path, http.NoBody)
	if err != nil {
		return nil, err
	}
	key := websocket.NewKey()
	req.SetBasicAuth(c.User, password)
	for name, value := range map[string]string{
		"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": key,
	} {
		req.Header.Set(name, value)
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	conn, ok := resp.Body.(io.ReadWriteCloser)
	if resp.StatusCode != http.StatusSwitchingProtocols || !ok || resp.Header.Get("Sec-WebSocket-Accept") != websocket.AcceptKey(key) {
		defer resp.Body.Close()
		body, _ := io.ReadAll(io.LimitReader(resp.Body, maxFeedLine))
		return nil, refusal(c.Gateway, resp.Status, body)
	}
	return conn, nil
}

// readFeed calls line for each text of the server, until its Close, which is answered. A Close other than 1000 is an error.
func readFeed(conn io.ReadWriter, line func(text []byte) error) error {
	br := bufio.NewReaderSize(conn, maxFeedLine)
	for {
		h, n, err := peekHeader(br)
		if err != nil {
			return err
		}
		if h.Masked || h.Length > int64(maxFeedLine-n) {
			return fmt.Errorf("answer: a frame of %d bytes", h.Length)
		}
		frame := make([]byte, n+int(h.Length))
		if _, err := io.ReadFull(br, frame); err != nil {
			return err
		}
		payload := websocket.AppendPayload(nil, frame)
		switch h.Opcode {
		case websocket.OpText:
			if err := line(payload); err != nil {
				return err
			}
		case websocket.OpClose:
			code, reason, err := websocket.ParseClose(payload)
			_, _ = conn.Write(websocket.AppendClose(nil, new([4]byte), code, ""))
			if err == nil && code != websocket.Normal {
				err = fmt.Errorf("closed by the gateway: %d %s", code, reason)
			}
			return err
		}
	}
}

// peekHeader parses the next header, and leaves it to be read.
func peekHeader(br *bufio.Reader) (websocket.Header, int, error) {
	for size := 2; ; size++ {
		p, err := br.Peek(size)
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return websocket.Header{}, 0, err
		}
		if h, n, err := websocket.ParseHeader(p); err != nil || n > 0 {
			return h, n, err
		}
	}
}
