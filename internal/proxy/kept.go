package proxy

import (
	"errors"
	"io"
	"net/http"

	"github.com/fairlead-gateway/fairlead/internal/http1"
)

// maxKeptBody is how much of a request's body, in bytes, is kept so that it can be sent more than once: again, or to a mirror.
const maxKeptBody = 64 << 10

// A kept is what of a request's body is in memory.
type kept struct {
	content  []byte
	whole    bool         // content is all of it: it can be sent again
	begun    bool         // content has been read before anything was sent; what follows it has not
	trailers http1.Fields // behind content
}

// hold keeps a body that has come with its head.
func (x *exchange) hold() {
	if x.kept.begun || x.kept.whole {
		return
	}
	switch x.request.Body.Kind {
	case http1.NoBody:
		x.kept.whole = true
	case http1.Length:
		x.kept.content, x.kept.whole = x.body.Whole()
	}
}

// keep waits for a body that may be no larger than most, and keeps it if it is not. A stream of gRPC is not waited for:
// its client may wait for an answer to the first message. The error is fit for failed.
func (x *exchange) keep(most int) error {
	x.hold()
	k, body := &x.kept, &x.request.Body
	switch {
	case k.whole || k.begun:
		return nil
	case body.Kind == http1.Length && body.Length > int64(most):
		return nil
	case body.Kind == http1.Chunked && isGRPC(x.request.Fields.Get("Content-Type")):
		return nil
	}
	if err := x.Interim(http.StatusContinue, nil); err != nil {
		return errClientGone
	}
	k.begun = true
	k.content = make([]byte, 0, max(body.Length, 512))
	for len(k.content) <= most {
		p, err := x.body.Next()
		switch {
		case errors.Is(err, io.EOF):
			k.whole, k.trailers = true, x.body.Trailers()
			return nil
		case err != nil:
			return unreadable(err)
		}
		k.content = append(k.content, p...)
	}
	return nil
}

// framing is how the body goes on.
func (x *exchange) framing() http1.Framing {
	if f := x.request.Body; f.Kind != http1.Chunked || !x.kept.whole || len(x.kept.trailers) > 0 {
		return f
	}
	return http1.Framing{Kind: http1.Length, Length: int64(len(x.kept.content))}
}

// first is the part of the body that leaves with the head, as it is framed.
func (x *exchange) first() []byte {
	k := &x.kept
	if len(k.content) == 0 && !k.whole || x.framing().Kind != http1.Chunked {
		return k.content
	}
	if k.whole {
		return appendChunked(nil, k.content, k.trailers)
	}
	return append(append(http1.AppendChunkHead(nil, int64(len(k.content))), k.content...), http1.ChunkEnd...)
}
