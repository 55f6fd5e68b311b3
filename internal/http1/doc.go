// Package http1 speaks HTTP/1.1 (RFC 9110, RFC 9112) and the HTTP/1.0 of plain requests. Its pure part has the words:
// heads ([ParseRequest], [ParseResponse], [Fields]), framing ([Framing], [Cursor]) and their wire form (the Append
// functions). Its other part moves them over any net.Conn, in goroutines and in the fibers of a loop alike: towards clients
// [ServerConn] and [Exchange], towards services [ClientConn] and [Pool], and between them [Copy] and [Upload]. [Front]
// holds clients' connections on loops while they wait.
//
// It is strict where two readers of the same bytes could disagree, because a gateway stands between two: what it accepts
// has one meaning. It keeps spelling, case and order as they came, and has no policy: which methods, paths, hosts and
// upgrades are served is the business of its callers.
package http1
