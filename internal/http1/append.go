package http1

import "strconv"

// Fixed parts of a chunked body (RFC 9112, section 7.1).
const (
	ChunkEnd  = "\r\n"      // follows the data of a chunk
	LastChunk = "0\r\n\r\n" // ends a body without trailers
)

// AppendRequestLine appends the line of an HTTP/1.1 request to b. It is one line of three parts whatever it is given:
// in target, bytes that no target may have (controls, space, DEL, "#") are percent-encoded, and bytes of method
// that no token has are left out. The parts of target stand behind each other.
func AppendRequestLine(b []byte, method string, target ...string) []byte {
	b = appendOnly(b, method, tokenByte, false)
	b = append(b, ' ')
	for _, part := range target {
		b = AppendTarget(b, part)
	}
	return append(b, " HTTP/1.1\r\n"...)
}

// AppendTarget appends target to b; bytes that no target may have are percent-encoded.
func AppendTarget(b []byte, target string) []byte { return appendOnly(b, target, targetByte, true) }

// appendOnly appends the bytes of s that are of class, and the others percent-encoded or not at all.
func appendOnly(b []byte, s string, class uint8, encode bool) []byte {
	for {
		end := span(s, 0, class)
		b = append(b, s[:end]...)
		if end == len(s) {
			return b
		}
		if encode {
			const digits = "0123456789ABCDEF"
			b = append(b, '%', digits[s[end]>>4], digits[s[end]&15])
		}
		s = s[end+1:]
	}
}

// AppendStatusLine appends the status line of an HTTP/1.1 response to b. status has three digits. Control characters in
// reason become a space each, HTAB excepted.
func AppendStatusLine(b []byte, status int, reason string) []byte {
	b = append(b, "HTTP/1.1 "...)
	b = strconv.AppendInt(b, int64(status), 10)
	b = append(b, ' ')
	b = appendText(b, reason)
	return append(b, "\r\n"...)
}

// AppendChunkHead appends the line before the data of a chunk of size bytes, size > 0, to b. [ChunkEnd] follows the data.
func AppendChunkHead(b []byte, size int64) []byte {
	b = strconv.AppendInt(b, size, 16)
	return append(b, "\r\n"...)
}

// AppendLastChunk appends the end of a chunked body to b: the last chunk, trailers (may be nil), the empty line.
func AppendLastChunk(b []byte, trailers Fields) []byte {
	b = append(b, "0\r\n"...)
	b = trailers.Append(b)
	return append(b, "\r\n"...)
}

// appendText appends s to b with a space for each control character but HTAB.
func appendText(b []byte, s string) []byte {
	for {
		end := textEnd(s, 0)
		b = append(b, s[:end]...)
		if end == len(s) {
			return b
		}
		b = append(b, ' ')
		s = s[end+1:]
	}
}
