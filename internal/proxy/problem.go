package proxy

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"

	"github.com/fairlead-gateway/fairlead/internal/http1"
)

// A problem is the document of RFC 9457 with the members that have a meaning without a type.
type problem struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail,omitempty"`
}

// problem is the failure as RFC 9457 says it.
func (f *failure) problem() []byte {
	var body bytes.Buffer
	enc := json.NewEncoder(&body)
	enc.SetEscapeHTML(false) // it is JSON, and said to be
	// Strings and a number: it cannot fail.
	_ = enc.Encode(problem{Type: "about:blank", Title: http.StatusText(f.status), Status: f.status, Detail: f.explained()})
	return body.Bytes()
}

// explained is what happened, for a client that is no Zowe's.
func (f *failure) explained() string {
	switch {
	case f.detail != "":
		return f.detail
	case f.text != "":
		return f.text
	}
	return f.message.Content
}

// speaksGRPC tells whether the client of a Gateway's listener waits for an answer of gRPC: its request says so, and the rule
// that it found, if any, is a GRPCRoute's.
func (x *exchange) speaksGRPC() bool {
	return x.ofGateway() && (x.to.Route == nil || x.to.GRPC) && isGRPC(x.request.Fields.Get("Content-Type"))
}

// isGRPC tells whether a content type is gRPC's (gRPC over HTTP/2, Content-Type).
func isGRPC(contentType string) bool {
	const grpc = "application/grpc"
	return hasPrefixFold(contentType, grpc) && (len(contentType) == len(grpc) || contentType[len(grpc)] == '+' || contentType[len(grpc)] == ';')
}

// Status codes of gRPC.
const (
	grpcUnknown          = 2
	grpcPermissionDenied = 7
	grpcUnimplemented    = 12
	grpcInternal         = 13
	grpcUnavailable      = 14
	grpcUnauthenticated  = 16
)

// grpcCode is the code for a gateway's HTTP status, as gRPC's own table has it; 500 stands here for a backend that cannot be
// followed, which a GRPCRoute answers UNAVAILABLE.
func grpcCode(status int) int {
	switch status {
	case http.StatusBadRequest:
		return grpcInternal
	case http.StatusUnauthorized:
		return grpcUnauthenticated
	case http.StatusForbidden:
		return grpcPermissionDenied
	case http.StatusNotFound:
		return grpcUnimplemented
	case http.StatusTooManyRequests, http.StatusInternalServerError, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return grpcUnavailable
	}
	return grpcUnknown
}

// grpcFields are the failure as gRPC says it in an answer that has a head alone ("Trailers-Only").
func (f *failure) grpcFields() http1.Fields {
	return http1.Fields{
		{Name: "Grpc-Status", Value: strconv.Itoa(grpcCode(f.status))},
		{Name: "Grpc-Message", Value: grpcMessage(f.explained())},
	}
}

// grpcMessage percent-encodes what a grpc-message may not hold as it is.
func grpcMessage(s string) string {
	const digits = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; c >= ' ' && c <= '~' && c != '%' {
			b.WriteByte(c)
		} else {
			b.Write([]byte{'%', digits[c>>4], digits[c&15]})
		}
	}
	return b.String()
}

// noBackend is a rule that cannot be followed, or a backend of it.
func noBackend(why string) *failure {
	return &failure{status: http.StatusInternalServerError, cause: "rule: " + why, http: true, detail: "The route leads nowhere: its configuration is not valid."}
}
