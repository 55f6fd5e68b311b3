package loop

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
)

const (
	// lendSize is how much ciphertext is read at once. What comes of it fits a Buffer, less the head room that a caller
	// may want there.
	lendSize = BufferSize - 4<<10
	// gatherSize is how much ciphertext goes to the kernel at once.
	gatherSize = BufferSize + 8<<10
	// stashSize holds the start of any record (RFC 8446, section 5.2; RFC 5246, section 6.2.3).
	stashSize = 5 + 16<<10 + 2048
	// smallStash is up to where the start of a record gets memory of its own.
	smallStash = 512
	// maxAnswers bounds what crypto/tls may answer to messages of its own (KeyUpdate) while the peer reads none of it.
	maxAnswers = 4 << 10
)

var errAnswers = errors.New("tls peer asks for answers and reads none")

// A tlsStream is the Stream of a tls.Conn whose handshake is over. The tls.Conn reads from and writes to it, and uses the
// poller's buffers for both: while nothing comes and nothing waits to go, neither holds a buffer.
type tlsStream struct {
	socket
	conn *tls.Conn
	at   *layout

	// What comes.
	mayRead bool   // readCipher may read the socket once more
	more    bool   // the socket may have more than was read
	fed     bool   // the ciphertext of the handshake's time has been used up: buffers may be lent
	cut     bool   // FIN came before close_notify
	stash   []byte // in which the start of a record waits, of stashes
	rest    []byte // plaintext for which the caller had no room
	rerr    error  // final

	// What goes.
	gathering bool // a Write is under way
	out       []byte
	sent      int // of out
	answers   int // in out, or sent since it was empty: made by crypto/tls itself
	high      bool
	fin       bool // CloseWrite was called
	finSent   bool
	werr      error // final
}

// attachTLS returns nil if c is to be pumped.
func (l *Loop) attachTLS(c *tls.Conn) Stream {
	w, ok := c.NetConn().(*wrapped)
	if !ok || l.p.layout == nil || w.cipher != nil || !c.ConnectionState().HandshakeComplete {
		return nil
	}
	fd, err := takeDescriptor(w.conn)
	if err != nil {
		return nil
	}
	return l.newTLS(c, w, fd)
}

func (l *Loop) newTLS(c *tls.Conn, w *wrapped, fd int32) *tlsStream {
	t := &tlsStream{socket: socket{l: l, fd: fd}, conn: c, at: l.p.layout}
	t.tls = t
	w.conn, w.cipher = nil, t
	t.at.lean(c)
	return t
}

func (t *tlsStream) Handle(h Handler) {
	first := t.slot == 0
	t.socket.Handle(h)
	if first && !t.closed { // it may hold bytes that no poller knows of
		t.l.p.fresh = append(t.l.p.fresh, &t.socket)
	}
}

func (t *tlsStream) Read(p []byte) (int, error) {
	if t.closed {
		return 0, net.ErrClosed
	}
	if len(p) == 0 {
		return 0, nil
	}
	if len(t.rest) > 0 {
		n := copy(p, t.rest)
		if t.rest = t.rest[n:]; len(t.rest) > 0 {
			return n, nil
		}
		t.rest = nil
		return n, nil // whether there is more is to be asked again: its event may have come meanwhile
	}
	if t.rerr != nil {
		return 0, t.rerr
	}
	if len(p) >= lendSize {
		n, err := t.decrypt(p)
		return n, t.say(err)
	}
	if t.l.p.plain == nil {
		t.l.p.plain = make([]byte, BufferSize)
	}
	n, err := t.decrypt(t.l.p.plain)
	k := copy(p, t.l.p.plain[:n])
	if k == n {
		return n, t.say(err)
	}
	t.rest = append([]byte(nil), t.l.p.plain[k:n]...)
	return k, nil
}

// say notes that the caller is to be told ErrAgain.
func (t *tlsStream) say(err error) error {
	if err == ErrAgain { //nolint:errorlint // it is our own, as it is
		t.told = false
	}
	return err
}

// decrypt reads the socket once, or until there is something, and decrypts all that came. A final error is kept for the
// next call if something came before it.
func (t *tlsStream) decrypt(p []byte) (int, error) {
	for {
		n, err := t.decryptOnce(p)
		if err == errNotNow { //nolint:errorlint // crypto/tls is relied upon to hand it back as it is
			switch {
			case t.more && n == 0:
				continue // the start of a record
			case t.more:
				return n, nil
			}
			return n, ErrAgain
		}
		if err == nil {
			return n, nil
		}
		t.rerr = t.readError(err)
		if n > 0 {
			return n, nil
		}
		return 0, t.rerr
	}
}

func (t *tlsStream) decryptOnce(p []byte) (int, error) {
	lent := t.fed
	t.more = !lent
	t.mayRead = lent // what the handshake left is used up first: it is in other memory, and may be much
	if lent {
		t.lend()
	}
	n := 0
	var err error
	for n < len(p) && err == nil {
		var k int
		k, err = t.conn.Read(p[n:])
		if n += k; err == nil && lent && n < len(p) && t.spent() {
			err = errNotNow
		}
	}
	switch {
	case err == nil && lent:
		// It has more, against what lendSize was chosen for: it keeps that memory.
		t.l.p.cipherIn = nil
	case err == nil:
	case lent:
		t.at.takeBack(t.conn, t.keep)
	default:
		t.fed = true
	}
	return n, err
}

// spent reports whether all that the socket had is decrypted, and nothing is wrong: another Read would say errNotNow.
func (t *tlsStream) spent() bool {
	return !t.mayRead && t.answers <= maxAnswers && t.at.waiting(t.conn) == 0
}

func (t *tlsStream) lend() {
	p := t.l.p
	if p.cipherIn == nil {
		p.cipherIn = make([]byte, lendSize)
	}
	t.at.lend(t.conn, p.cipherIn)
	t.returnStash()
}

// keep gives memory for the start of a record.
func (t *tlsStream) keep(n int) []byte {
	if n <= smallStash || n > stashSize {
		return make([]byte, n)
	}
	t.stash = *stashes.Get().(*[]byte)
	return t.stash[:n]
}

// readError is what Read says for an error of crypto/tls.
func (t *tlsStream) readError(err error) error {
	switch {
	case t.answers > maxAnswers && len(t.out) > 0:
		return errAnswers
	case t.cut && (errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)):
		return ErrTruncated
	}
	return err
}

// readCipher is where the tls.Conn reads.
func (t *tlsStream) readCipher(p []byte) (int, error) {
	switch {
	case t.answers > maxAnswers && len(t.out) > 0:
		return 0, errAnswers
	case !t.mayRead:
		return 0, errNotNow
	}
	t.mayRead = false
	n, more, err := t.receive(p)
	t.more = more
	switch {
	case err == io.EOF: //nolint:errorlint // receive promises it as it is
		t.cut = true
		return 0, io.EOF
	case err != nil:
		return 0, err
	case n == 0:
		return 0, errNotNow
	}
	return n, nil
}

// writeCipher is where the tls.Conn writes. It never refuses: an error would be final there, also for what still can be
// read.
func (t *tlsStream) writeCipher(p []byte) (int, error) {
	if t.closed {
		return 0, net.ErrClosed
	}
	if !t.gathering {
		t.answers += len(p)
		t.transmit(p)
		return len(p), nil
	}
	b := t.l.p.cipherOut
	if len(b)+len(p) > cap(b) {
		t.transmit(b)
		b = b[:0]
	}
	if len(p) > cap(b) {
		t.transmit(p)
		p = nil
	}
	t.l.p.cipherOut = append(b, p...)
	return len(p), nil
}

// transmit writes p behind what waits, and keeps what the kernel does not take.
func (t *tlsStream) transmit(p []byte) {
	if t.werr != nil || len(p) == 0 {
		return
	}
	if len(t.out) == 0 {
		n, err := t.socket.Write(p)
		p = p[n:]
		if err != nil && err != ErrAgain { //nolint:errorlint // it is our own, as it is
			t.werr = err
			return
		}
		if len(p) == 0 {
			t.answers = 0
			return
		}
		t.out = (*readBuffers.Get().(*[]byte))[:0]
	}
	t.out = append(t.out, p...)
	t.high = t.high || t.Queued() >= HighWater // also by an answer of crypto/tls: whoever waits for room has to be told
}

func (t *tlsStream) Write(p []byte) (int, error) {
	switch {
	case t.closed:
		return 0, net.ErrClosed
	case t.werr != nil:
		return 0, t.werr
	case len(p) == 0:
		return 0, nil
	}
	if t.l.p.cipherOut == nil {
		t.l.p.cipherOut = make([]byte, 0, gatherSize)
	}
	t.gathering = true
	n, err := t.conn.Write(p)
	t.gathering = false
	t.transmit(t.l.p.cipherOut)
	t.l.p.cipherOut = t.l.p.cipherOut[:0]
	if t.werr == nil {
		t.werr = err
	}
	if t.werr != nil {
		t.drop()
		return 0, t.werr
	}
	return n, nil
}

// flush writes what waits when there is room again, and reports whether the caller is to be told Writable.
func (t *tlsStream) flush() bool {
	if t.closed || t.werr != nil || len(t.out) == 0 {
		return false
	}
	n, err := t.socket.Write(t.out[t.sent:])
	t.sent += n
	if err != nil && err != ErrAgain { //nolint:errorlint // it is our own, as it is
		t.werr = err
		t.drop()
		return true
	}
	if t.sent == len(t.out) {
		t.drop()
		t.answers = 0
		if t.fin {
			t.shut()
			return true
		}
	}
	if t.high && t.Queued() <= LowWater {
		t.high = false
		return true
	}
	return false
}

// drop forgets what waits.
func (t *tlsStream) drop() {
	if cap(t.out) == BufferSize {
		b := t.out[:BufferSize]
		readBuffers.Put(&b)
	}
	t.out, t.sent = nil, 0
}

// Queued counts FIN as a byte.
func (t *tlsStream) Queued() int {
	n := len(t.out) - t.sent
	if t.fin && !t.finSent && t.werr == nil {
		n++
	}
	return n
}

func (t *tlsStream) CloseWrite() error {
	switch {
	case t.closed:
		return net.ErrClosed
	case t.fin:
		return nil
	}
	err := t.conn.CloseWrite() // close_notify, through writeCipher
	t.fin = true
	if t.werr == nil {
		t.werr = err
	}
	if t.werr != nil {
		t.drop()
		return t.werr
	}
	if len(t.out) == 0 {
		t.shut()
	}
	return t.werr
}

// shut sends FIN.
func (t *tlsStream) shut() {
	t.finSent = true
	if err := t.socket.CloseWrite(); err != nil && t.werr == nil {
		t.werr = err
	}
}

func (t *tlsStream) Close() { t.end(false) }

func (t *tlsStream) Abort() { t.end(true) }

func (t *tlsStream) end(reset bool) {
	if t.closed {
		return
	}
	t.socket.end(reset)
	t.drop()
	t.rest = nil
	t.returnStash() // the tls.Conn is not used any more
}

func (t *tlsStream) returnStash() {
	if t.stash != nil {
		b := t.stash
		stashes.Put(&b)
		t.stash = nil
	}
}

// stashes hold starts of records.
var stashes = sync.Pool{New: func() any {
	b := make([]byte, stashSize)
	return &b
}}
