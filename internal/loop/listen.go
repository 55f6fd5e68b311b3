package loop

import (
	"crypto/tls"
	"net/netip"
	"time"
)

// ListenOptions say what becomes of the connections of a Listener. The functions are called on the loop of the connection,
// many at a time, and must not block.
type ListenOptions struct {
	// Accept is given each connection, attended, after its TLS handshake if there is one. It owns it. Required.
	Accept func(c *Conn)
	// Admit is asked before anything is done with a connection; false: it is closed. Required.
	Admit func(peer netip.AddrPort) bool
	// Failed is told once of a connection that Admit has let in and that never comes to Accept, and, with no peer, of a pause
	// in accepting. After a handshake it is in a fiber, and the connection in a tls.RecordHeaderError can still be written
	// to. Required.
	Failed func(peer netip.AddrPort, why error)

	// Before is given each connection before its first byte is read, in a fiber, to read what stands before TLS and HTTP (the
	// PROXY protocol). It sets its own deadline. An error ends the connection. Nil: nothing stands there.
	Before func(c *Conn) error

	TLS              *tls.Config   // nil: plain. What its GetConfigForClient says by Note stays with the connection
	HandshakeTimeout time.Duration // of TLS, Hello included

	// Hello is given each connection before its TLS handshake, in a fiber, to look at how that begins. It returns what it has
	// read, which TLS is given first. taken: the connection is somebody else's now. An error ends it. Nil: nobody looks.
	Hello func(c *Conn) (read []byte, taken bool, err error)

	// Elsewhere is given connections that Leaves says: they are the runtime's then, for goroutines. It must not wait. Nil: Accept
	// takes all.
	Elsewhere func(c *tls.Conn, peer netip.AddrPort, note any)
	// Leaves tells by the protocol that was negotiated and by what was noted. Nil: all but "" and http/1.1 leave.
	Leaves func(protocol string, note any) bool

	// Control may set options of the listening socket, which its connections inherit. Nil: none.
	Control func(fd int) error
}

// DialOptions are how Loop.Dial is to connect. The zero value does it without a bound of its own.
type DialOptions struct {
	Deadline time.Time            // zero: until the kernel gives up
	Begun    func(abandon func()) // is given what ends the wait, on the loop; nil: nothing does
}
