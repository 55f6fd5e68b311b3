package upstream

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/http2"
)

// The health service of gRPC: package grpc.health.v1. Its two messages have one field each, number 1.
const (
	healthMethod = "/grpc.health.v1.Health/Check"
	frameHead    = 5 // a flag (compressed), four bytes of length, most significant first
)

// servingStatus are the names of HealthCheckResponse.ServingStatus.
var servingStatus = [...]string{"UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"}

const serving = 1

// checkGRPC wants the answer SERVING.
func checkGRPC(ctx context.Context, conn *probeConn, e *Endpoint, p *Probe) error {
	if p.secure(e) && conn.agreed() != http2.NextProtoTLS {
		return errors.New("the TLS handshake did not agree on h2")
	}
	resp, err := roundTrip2(p.healthRequest(ctx, e), conn)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("status %d", resp.StatusCode)
	}
	if t := resp.Header.Get("Content-Type"); !strings.HasPrefix(t, "application/grpc") {
		return fmt.Errorf("content-type %q: it is no answer of gRPC", cut(t))
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxProbedBody))
	if err != nil {
		return err
	}
	code, words := resp.Trailer.Get("Grpc-Status"), resp.Trailer.Get("Grpc-Message")
	if code == "" { // an answer without a message has its trailers in the head
		code, words = resp.Header.Get("Grpc-Status"), resp.Header.Get("Grpc-Message")
	}
	if code != "0" {
		return grpcError(code, words)
	}
	status, err := parseHealth(body)
	switch {
	case err != nil:
		return err
	case status == serving:
		return nil
	case status < uint64(len(servingStatus)):
		return errors.New(servingStatus[status])
	}
	return fmt.Errorf("serving status %d", status)
}

// healthRequest asks for the health of p.Service.
func (p *Probe) healthRequest(ctx context.Context, e *Endpoint) *http.Request {
	message := appendHealthRequest(nil, p.Service)
	host := p.Host
	if host == "" {
		host = e.Address()
	}
	scheme := "http"
	if p.secure(e) {
		scheme = "https"
	}
	h := http.Header{"Content-Type": {"application/grpc"}, "Te": {"trailers"}, "User-Agent": {probeAgent}}
	if until, ok := ctx.Deadline(); ok {
		ms := min(max(time.Until(until).Milliseconds(), 1), 99_999_999) // eight digits at most
		h.Set("Grpc-Timeout", strconv.FormatInt(ms, 10)+"m")
	}
	req := &http.Request{
		Method: http.MethodPost, URL: &url.URL{Scheme: scheme, Host: host, Path: healthMethod}, Host: host,
		Header: h, Body: io.NopCloser(bytes.NewReader(message)), ContentLength: int64(len(message)),
	}
	return req.WithContext(ctx)
}

// appendHealthRequest appends a framed HealthCheckRequest.
func appendHealthRequest(b []byte, service string) []byte {
	b = append(b, 0, 0, 0, 0, 0)
	start := len(b)
	if service != "" {
		b = append(b, 1<<3|2) // field 1, a string
		b = binary.AppendUvarint(b, uint64(len(service)))
		b = append(b, service...)
	}
	binary.BigEndian.PutUint32(b[start-4:], uint32(len(b)-start))
	return b
}

var errHealthMessage = errors.New("the answer is no HealthCheckResponse")

// parseHealth reads the status out of a framed HealthCheckResponse. Fields that it does not know are passed over; a
// message without the field says UNKNOWN, 0.
func parseHealth(b []byte) (status uint64, err error) {
	if len(b) < frameHead || b[0] != 0 || uint64(binary.BigEndian.Uint32(b[1:])) != uint64(len(b)-frameHead) {
		return 0, errHealthMessage
	}
	for b = b[frameHead:]; len(b) > 0; {
		key, n := binary.Uvarint(b)
		if n <= 0 || key>>3 == 0 {
			return 0, errHealthMessage
		}
		b = b[n:]
		var value uint64
		size := uint64(0) // of what follows value
		switch key & 7 {
		case 0:
			if value, n = binary.Uvarint(b); n <= 0 {
				return 0, errHealthMessage
			}
			b = b[n:]
		case 1:
			size = 8
		case 2:
			if size, n = binary.Uvarint(b); n <= 0 {
				return 0, errHealthMessage
			}
			b = b[n:]
		case 5:
			size = 4
		default:
			return 0, errHealthMessage
		}
		if size > uint64(len(b)) {
			return 0, errHealthMessage
		}
		b = b[size:]
		if key == 1<<3 {
			status = value
		}
	}
	return status, nil
}

// grpcError says why a call failed. The names are those of google.rpc.Code that a health check meets.
func grpcError(code, words string) error {
	name := map[string]string{
		"": "missing", "1": "CANCELLED", "4": "DEADLINE_EXCEEDED", "5": "NOT_FOUND", "7": "PERMISSION_DENIED", "8": "RESOURCE_EXHAUSTED",
		"12": "UNIMPLEMENTED", "13": "INTERNAL", "14": "UNAVAILABLE", "16": "UNAUTHENTICATED",
	}[code]
	text := "gRPC status " + cut(code)
	if name != "" {
		text = strings.TrimSpace(text) + " " + name
	}
	if words, err := url.PathUnescape(words); err == nil && words != "" {
		text += fmt.Sprintf(": %q", cut(words))
	}
	return errors.New(text)
}
