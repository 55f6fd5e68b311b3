package proxy

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/fairlead-gateway/fairlead/internal/http1"
)

// isOwn tells whether the path is the gateway's own.
func (s *Server) isOwn(path string) bool {
	rest, found := strings.CutPrefix(path, "/application")
	return found && (rest == "" || rest[0] == '/') || s.EurekaOn && isZowes(path)
}

// isZowes tells whether the path is among those that Zowe's gateway answers itself and this one does too.
func isZowes(path string) bool {
	rest, found := strings.CutPrefix(path, "/gateway/")
	rest = strings.TrimPrefix(rest, "api/v1/")
	return found && (rest == "version" || rest == "services" || strings.HasPrefix(rest, "services/"))
}

// serveAdmin has Options.Admin answer, which is an ordinary http.Handler and may block: it runs where it may, and
// its answer leaves when it is whole. It is given a body that is small.
func (s *Server) serveAdmin(x *exchange) {
	x.record.Route = "application"
	defer func() {
		if !x.taken {
			x.record.BytesIn, x.record.BytesOut = x.body.Count(), x.Sent()
		}
		s.log(x)
	}()
	if s.refuseForeign(x) {
		return
	}
	if s.Admin == nil {
		s.fail(x, notFound(x.target))
		return
	}
	if err := x.keep(maxAdminBody); err != nil {
		s.fail(x, failed(err, x.target, ""))
		return
	}
	if len(x.kept.content) > maxAdminBody || !x.kept.whole {
		s.reject(x, tooLarge())
		return
	}
	r, err := adminRequest(x)
	if err != nil {
		s.fail(x, badRequest("the request target is no URL"))
		return
	}
	w := adminWriter{header: make(http.Header)}
	x.run.Offload(func() { s.Admin.ServeHTTP(&w, r) })
	if w.frames != nil {
		s.serveFrames(x, w.frames)
		return
	}
	if w.status == 0 {
		w.status = http.StatusOK
	}
	x.record.Status = w.status
	fields := append(http1.Fields{{Name: "X-Request-Id", Value: x.record.RequestID}}, fieldsOf(w.header)...)
	_ = x.Reply(&http1.Answer{Status: w.status, Fields: fields}, w.body.Bytes()) // the client is gone if this fails
}

// maxAdminBody bounds the body of a request to the gateway itself, in bytes.
const maxAdminBody = 64 << 10

// adminRequest is the request as net/http would give it.
func adminRequest(x *exchange) (*http.Request, error) {
	u, err := url.ParseRequestURI(x.request.PathQuery)
	if err != nil {
		return nil, err
	}
	r := &http.Request{
		Method: x.request.Method, URL: u, Proto: x.record.Protocol, ProtoMajor: 1, ProtoMinor: x.request.Minor,
		Header: make(http.Header, len(x.request.Fields)), Body: http.NoBody, Host: x.request.Host,
		RemoteAddr: x.conn.peerText, RequestURI: x.request.PathQuery,
	}
	if len(x.kept.content) > 0 {
		r.Body = io.NopCloser(bytes.NewReader(x.kept.content))
	}
	for _, f := range x.request.Fields {
		r.Header.Add(f.Name, f.Value)
	}
	if x.conn.secure {
		r.TLS = &tls.ConnectionState{HandshakeComplete: true, Version: x.conn.tlsVersion, CipherSuite: x.conn.tlsCipher}
	}
	return r.WithContext(context.Background()), nil
}

// An adminWriter keeps an answer.
type adminWriter struct {
	header http.Header
	status int
	body   bytes.Buffer
	frames *FramesRequest // the answer is those of a session
}

// A FramesWriter is what Options.Admin may answer with instead of a status: it has ServeFrames called once, and writes nothing.
type FramesWriter interface{ ServeFrames(r FramesRequest) }

// A FramesRequest asks for the frames of a live session, as they come.
type FramesRequest struct {
	ID      string // of the session
	User    string // who asks, for the log
	Payload int    // bytes of each payload to be shown; 0: none
}

// ServeFrames implements FramesWriter.
func (w *adminWriter) ServeFrames(r FramesRequest) { w.frames = &r }

func (w *adminWriter) Header() http.Header { return w.header }

func (w *adminWriter) WriteHeader(status int) {
	if w.status == 0 && status >= 200 {
		w.status = status
	}
}

func (w *adminWriter) Write(p []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	return w.body.Write(p)
}
