// Package websocket holds the words of RFC 6455 and RFC 7692: the opening handshake of both sides, frame headers, the
// position in a stream of frames, close codes. It does no I/O and keeps no goroutine.
package websocket
