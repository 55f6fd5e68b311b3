package interop

import (
	"bufio"
	"bytes"
	"crypto/sha1" //nolint:gosec // RFC 6455, section 4.2.2, says so
	"crypto/tls"
	"encoding/base64"
	endian "encoding/binary" // binary is the gateway's
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"
)

// The frames of a soak are written and read here, not by a library: they are cut where no library would cut them.

// A soakDialer opens sessions with the echo service behind a gateway.
type soakDialer struct {
	g     *gateway
	trust *tls.Config
}

// A soakPeer is the client of one session.
type soakPeer struct {
	net.Conn
	tcp *net.TCPConn // under Conn
	in  *bufio.Reader
	rng *rand.Rand
}

// soakPatience bounds a session that is not told to stay.
const soakPatience = time.Minute

func (d *soakDialer) open(secure, small bool) (*soakPeer, error) {
	address := d.g.plain
	if secure {
		address = d.g.https
	}
	conn, err := net.DialTimeout("tcp", address, soakPatience)
	if err != nil {
		return nil, err
	}
	p := &soakPeer{Conn: conn, tcp: conn.(*net.TCPConn), rng: rand.New(rand.NewPCG(rand.Uint64(), 1))}
	if small {
		_ = p.tcp.SetReadBuffer(64 << 10)
	}
	if secure {
		conf := d.trust.Clone()
		conf.ServerName, conf.NextProtos = "localhost", []string{"http/1.1"}
		p.Conn = tls.Client(conn, conf)
	}
	_ = p.SetDeadline(time.Now().Add(soakPatience))
	p.in = bufio.NewReaderSize(p.Conn, 4096)
	_, err = io.WriteString(p, "GET /soak/ws/v1/echo HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
	var resp *http.Response
	if err == nil {
		resp, err = http.ReadResponse(p.in, nil)
	}
	if err == nil && resp.StatusCode != http.StatusSwitchingProtocols {
		err = fmt.Errorf("status %d", resp.StatusCode)
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return p, nil
}

// The opcodes of RFC 6455, section 5.2, and the bit of the last fragment.
const (
	opContinuation, opText, opBinary, opClose, opPing, opPong = 0, 1, 2, 8, 9, 10
	frameFin, frameMasked                                     = 0x80, 0x80
)

// appendFrame appends a frame, masked if mask is not nil.
func appendFrame(dst []byte, first byte, mask *[4]byte, payload []byte) []byte {
	var masked byte
	if mask != nil {
		masked = frameMasked
	}
	switch n := len(payload); {
	case n < 126:
		dst = append(dst, first, masked|byte(n))
	case n < 1<<16:
		dst = endian.BigEndian.AppendUint16(append(dst, first, masked|126), uint16(n))
	default:
		dst = endian.BigEndian.AppendUint64(append(dst, first, masked|127), uint64(n))
	}
	if mask == nil {
		return append(dst, payload...)
	}
	dst = append(dst, mask[:]...)
	for i, b := range payload {
		dst = append(dst, b^mask[i&3])
	}
	return dst
}

// readFrame reads a frame, and takes its mask away.
func readFrame(in *bufio.Reader) (first byte, payload []byte, err error) {
	var h [14]byte
	if _, err = io.ReadFull(in, h[:2]); err != nil {
		return 0, nil, err
	}
	size, more := uint64(h[1]&^frameMasked), 0
	switch size {
	case 126:
		more = 2
	case 127:
		more = 8
	}
	if h[1]&frameMasked != 0 {
		more += 4
	}
	if _, err = io.ReadFull(in, h[2:2+more]); err != nil {
		return 0, nil, err
	}
	switch size {
	case 126:
		size = uint64(endian.BigEndian.Uint16(h[2:]))
	case 127:
		size = endian.BigEndian.Uint64(h[2:])
	}
	if size > 1<<24 {
		return 0, nil, fmt.Errorf("a frame of %d bytes", size)
	}
	payload = make([]byte, size)
	_, err = io.ReadFull(in, payload)
	if h[1]&frameMasked != 0 {
		for i := range payload {
			payload[i] ^= h[more-2+i&3]
		}
	}
	return h[0], payload, err
}

// echo sends messages of any size in any pieces, and compares what comes back. It returns how many bytes did.
func (p *soakPeer) echo() (int64, error) {
	var seed [32]byte
	endian.NativeEndian.PutUint64(seed[:], p.rng.Uint64())
	sent := make(chan error, 1)
	var total int64
	go func() { // pieces of random bytes, of which the reader has the same
		var err error
		total, err = p.sendMessages(rand.NewChaCha8(seed))
		sent <- err
	}()
	want, got := rand.NewChaCha8(seed), int64(0)
	for {
		first, payload, err := readFrame(p.in)
		if err != nil {
			_ = p.Close() // the sender, too
			return got, errors.Join(err, <-sent)
		}
		switch first & 15 {
		case opClose:
			if err := <-sent; err != nil || got != total || len(payload) != 2 || endian.BigEndian.Uint16(payload) != 1000 {
				return got, fmt.Errorf("closed with %x after %d of %d bytes: %w", payload, got, total, err)
			}
			if _, err := p.in.ReadByte(); !errors.Is(err, io.EOF) {
				return got, fmt.Errorf("after the Close: %w", err)
			}
			return got, nil
		case opPong:
		default:
			expected := make([]byte, len(payload))
			_, _ = want.Read(expected) // never fails
			if !bytes.Equal(payload, expected) {
				return got, fmt.Errorf("wrong bytes between %d and %d", got, got+int64(len(payload)))
			}
			got += int64(len(payload))
		}
	}
}

// sendMessages sends some messages of what from gives, then a Close. It returns how many bytes of payload there were.
func (p *soakPeer) sendMessages(from io.Reader) (total int64, err error) {
	for range 1 + p.rng.IntN(30) {
		op := byte(opBinary)
		for left := 1 + p.rng.IntN(3); left > 0; left-- {
			payload := make([]byte, p.size())
			_, _ = from.Read(payload) // never fails
			total += int64(len(payload))
			if left == 1 {
				op |= frameFin
			}
			frame := p.masked(op, payload)
			if p.rng.IntN(8) == 0 {
				frame = append(p.masked(frameFin|opPing, []byte("ping")), frame...)
			}
			for len(frame) > 0 {
				n := len(frame)
				if p.rng.IntN(2) == 0 {
					n = 1 + p.rng.IntN(n)
				}
				if _, err := p.Write(frame[:n]); err != nil {
					return total, err
				}
				frame = frame[n:]
			}
			op = opContinuation
		}
	}
	_, err = p.Write(p.masked(frameFin|opClose, []byte{1000 >> 8, 1000 & 255}))
	return total, err
}

// size is that of a fragment: mostly small, now and then larger than any buffer.
func (p *soakPeer) size() int {
	switch n := p.rng.IntN(100); {
	case n < 70:
		return p.rng.IntN(300)
	case n < 97:
		return p.rng.IntN(20_000)
	default:
		return p.rng.IntN(300_000)
	}
}

func (p *soakPeer) masked(first byte, payload []byte) []byte {
	var mask [4]byte
	endian.NativeEndian.PutUint32(mask[:], p.rng.Uint32())
	return appendFrame(nil, first, &mask, payload)
}

// abort goes anywhere inside a message, by a reset or without a word.
func (p *soakPeer) abort() error {
	frame := p.masked(frameFin|opBinary, make([]byte, p.size()))
	_, err := p.Write(frame[:p.rng.IntN(len(frame)+1)])
	if p.rng.IntN(2) == 0 {
		_ = p.tcp.SetLinger(0)
	}
	_ = p.tcp.Close()
	return err
}

// readSlowly asks for more than all buffers hold, and reads it a little at a time, for a while or to the end.
func (p *soakPeer) readSlowly() error {
	const wanted, piece = 8 << 20, 64 << 10
	if _, err := p.Write(p.masked(frameFin|opText, []byte(strconv.Itoa(wanted)))); err != nil {
		return err
	}
	until := p.rng.IntN(2 * wanted)
	for got := 0; got < min(until, wanted); {
		first, payload, err := readFrame(p.in)
		if err != nil || first != frameFin|opBinary {
			return fmt.Errorf("after %d bytes: frame %x, %w", got, first, err)
		}
		for _, b := range payload {
			if b != byte(got>>8) {
				return fmt.Errorf("wrong byte at %d", got)
			}
			got++
		}
		if got%piece < len(payload) {
			time.Sleep(5 * time.Millisecond) // it is slow
		}
	}
	return nil
}

// stay says little until end.
func (p *soakPeer) stay(end time.Time) error {
	_ = p.SetDeadline(end.Add(soakPatience))
	for {
		text := strconv.FormatUint(p.rng.Uint64()|1<<63, 10) + " stays"
		if _, err := p.Write(p.masked(frameFin|opBinary, []byte(text))); err != nil {
			return err
		}
		if first, payload, err := readFrame(p.in); err != nil || first != frameFin|opBinary || string(payload) != text {
			return fmt.Errorf("sent %q, got %x %q: %w", text, first, payload, err)
		}
		left := time.Until(end)
		if left <= 0 {
			return nil
		}
		time.Sleep(min(left, 200*time.Millisecond))
	}
}

// soakService echoes each frame. A text is a number: so many bytes are sent, each that of its position divided by 256.
func soakService(t *testing.T) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		sum := sha1.Sum([]byte(r.Header.Get("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11")) //nolint:gosec // see above
		conn, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		_, _ = fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: %s\r\n\r\n",
			base64.StdEncoding.EncodeToString(sum[:]))
		for {
			_ = conn.SetDeadline(time.Now().Add(2 * soakPatience))
			first, payload, err := readFrame(rw.Reader)
			if err != nil {
				return
			}
			switch first & 15 {
			case opText:
				err = flood(conn, strings.TrimSpace(string(payload)))
			case opPing:
				_, err = conn.Write(appendFrame(nil, frameFin|opPong, nil, payload))
			default:
				_, err = conn.Write(appendFrame(nil, first, nil, payload))
			}
			if err != nil || first&15 == opClose {
				return
			}
		}
	})
}

func flood(conn net.Conn, number string) error {
	total, err := strconv.Atoi(number)
	for sent := 0; sent < total && err == nil; {
		payload := make([]byte, min(32<<10, total-sent))
		for i := range payload {
			payload[i] = byte((sent + i) >> 8)
		}
		_, err = conn.Write(appendFrame(nil, frameFin|opBinary, nil, payload))
		sent += len(payload)
	}
	return err
}
