package loop

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// selfTestTime bounds each wait of the self-test.
const selfTestTime = 5 * time.Second

// selfTest does with a real tls.Conn of this toolchain all that a tlsStream relies on: both versions, both roles, records
// cut anywhere, buffers lent and taken back, the handshake's buffer dropped, writes gathered, both ends by close_notify.
func selfTest(at *layout) (err error) {
	defer func() { // the layout may be that of another struct
		if p := recover(); p != nil {
			err = fmt.Errorf("tls self-test: %v", p)
		}
	}()
	cert, err := selfTestCertificate()
	if err != nil {
		return fmt.Errorf("tls self-test: %w", err)
	}
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for _, client := range []bool{false, true} {
			if err := selfTestOne(at, cert, version, client); err != nil {
				return fmt.Errorf("tls self-test: %s, client %v: %w", tls.VersionName(version), client, err)
			}
		}
	}
	return nil
}

func selfTestCertificate() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}

// A holdingConn is the peer's end. After the handshake it keeps what is written to it, so that it can be cut anywhere.
type holdingConn struct {
	net.Conn
	hold bool
	held []byte
}

func (c *holdingConn) Write(p []byte) (int, error) {
	if !c.hold {
		return c.Conn.Write(p)
	}
	c.held = append(c.held, p...)
	return len(p), nil
}

// SetWriteDeadline is how crypto/tls forbids all writes after close_notify: that is not for the wire.
func (c *holdingConn) SetWriteDeadline(t time.Time) error {
	if c.hold {
		return nil
	}
	return c.Conn.SetWriteDeadline(t)
}

// A tlsProbe is a tlsStream without a thread, and its peer.
type tlsProbe struct {
	l      *Loop
	stream *tlsStream
	wire   *holdingConn
	peer   *tls.Conn
}

func selfTestOne(at *layout, cert tls.Certificate, version uint16, client bool) error {
	ours, theirs, err := socketPair()
	if err != nil {
		return err
	}
	defer ours.Close()
	defer theirs.Close()
	buf := make([]byte, BufferSize)
	p := &tlsProbe{l: &Loop{p: &poller{layout: at}, buf: &buf}, wire: &holdingConn{Conn: theirs}}
	config := &tls.Config{
		MinVersion: version, MaxVersion: version, Certificates: []tls.Certificate{cert},
		InsecureSkipVerify: true, //nolint:gosec // both ends are ours, and so is the certificate
	}
	w := &wrapped{conn: ours}
	conn := tls.Server(w, config)
	p.peer = tls.Client(p.wire, config)
	if client {
		conn, p.peer = tls.Client(w, config), tls.Server(p.wire, config)
	}
	deadline := time.Now().Add(selfTestTime)
	_ = ours.SetDeadline(deadline)
	_ = theirs.SetDeadline(deadline)
	shaken := make(chan error, 1)
	go func() { shaken <- p.peer.Handshake() }()
	if err := errors.Join(conn.Handshake(), <-shaken); err != nil {
		return err
	}
	fd, err := takeDescriptor(ours)
	if err != nil {
		return err
	}
	p.stream = p.l.newTLS(conn, w, fd)
	defer p.l.p.bury()
	defer p.stream.Abort()
	p.wire.hold = true
	return p.run()
}

func (p *tlsProbe) run() error {
	small, large := []byte("abc"), bytes.Repeat([]byte("0123456789abcdef"), 3000)
	var got []byte
	for _, msg := range [][]byte{small, large, small} {
		if _, err := p.peer.Write(msg); err != nil {
			return err
		}
		got = got[:0]
		if err := p.arrive(&got, 40); err != ErrAgain { //nolint:errorlint // it is promised as it is
			return fmt.Errorf("end of read: %w", err)
		}
		if !bytes.Equal(got, msg) {
			return fmt.Errorf("read %d bytes instead of %d, or others", len(got), len(msg))
		}
		if raw := bufferAt(p.stream.conn, p.stream.at.rawInput); raw.Cap() != 0 {
			return fmt.Errorf("%d bytes kept in rawInput", raw.Cap())
		}
		if _, err := p.stream.Write(msg); err != nil {
			return err
		}
		answer := make([]byte, len(msg))
		if _, err := io.ReadFull(p.peer, answer); err != nil {
			return err
		}
		if !bytes.Equal(answer, msg) {
			return errors.New("other bytes were written")
		}
	}
	if hand := bufferAt(p.stream.conn, p.stream.at.hand); hand.Len() != 0 {
		return fmt.Errorf("%d bytes in hand", hand.Len())
	}
	if err := p.peer.CloseWrite(); err != nil {
		return err
	}
	if err := p.arrive(&got, len(p.wire.held)); err != io.EOF { //nolint:errorlint // it is promised as it is
		return fmt.Errorf("close_notify read as: %w", err)
	}
	if err := p.stream.CloseWrite(); err != nil {
		return err
	}
	if n, err := p.peer.Read(make([]byte, 1)); err != io.EOF { //nolint:errorlint // io.Reader
		return fmt.Errorf("close_notify written: %d, %w", n, err)
	}
	return nil
}

// arrive lets what the peer holds arrive, the first and last alone bytes one by one, and reads after each piece. It
// returns how the last read ended.
func (p *tlsProbe) arrive(got *[]byte, alone int) error {
	held := p.wire.held
	p.wire.held = nil
	buf := p.l.Buffer()
	for at := 0; at < len(held); {
		n := 1
		if at >= alone && at < len(held)-alone {
			n = min(10_000, len(held)-alone-at)
		}
		if _, err := p.wire.Conn.Write(held[at : at+n]); err != nil {
			return err
		}
		at += n
		for {
			n, err := p.stream.Read(buf)
			*got = append(*got, buf[:n]...)
			if err != nil && err != ErrAgain || err != nil && at == len(held) { //nolint:errorlint // promised as it is
				return err
			}
			if err != nil {
				break
			}
		}
		if at == 1 && p.stream.at.waiting(p.stream.conn) != 1 {
			return errors.New("rawInput is not where the start of a record waits")
		}
	}
	return errors.New("nothing came")
}

// socketPair is a pair of connected sockets.
func socketPair() (a, b net.Conn, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	var conns [2]net.Conn
	for i, fd := range fds {
		f := os.NewFile(uintptr(fd), "socketpair")
		conns[i], err = net.FileConn(f)
		_ = f.Close()
		if err != nil {
			if i == 0 {
				_ = unix.Close(fds[1])
			} else {
				_ = conns[0].Close()
			}
			return nil, nil, err
		}
	}
	return conns[0], conns[1], nil
}
