package loop

import "context"

type noteKey struct{}

// Noting returns a context for a TLS handshake (tls.Conn.HandshakeContext), and where Note leaves what it is told of it.
func Noting() (ctx context.Context, note *any) {
	note = new(any)
	return context.WithValue(context.Background(), noteKey{}, note), note
}

// Note keeps v with the connection whose handshake asks for its configuration: ctx is tls.ClientHelloInfo.Context. See
// Conn.Noted, ListenOptions.Leaves and Noting; other handshakes forget it.
func Note(ctx context.Context, v any) {
	if note, ok := ctx.Value(noteKey{}).(*any); ok {
		*note = v
	}
}
