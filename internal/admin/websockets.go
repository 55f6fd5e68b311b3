package admin

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/fairlead-gateway/fairlead/internal/proxy"
	"github.com/fairlead-gateway/fairlead/internal/websocket"
)

// Page sizes of the session list.
const (
	defaultPage = 1000
	maxPage     = 10000
)

// zoweSession are the five keys of Zowe's actuator, in its order (zowe.md, section 3).
type zoweSession struct {
	SessionID        string `json:"sessionId"`
	ClientAddress    string `json:"clientAddress"`
	GatewayPath      string `json:"gatewayPath"`
	ServiceURL       string `json:"serviceUrl"`
	ServiceSessionID string `json:"serviceSessionId"`
}

// fullSession adds the access log's keys, as far as a live session has them.
type fullSession struct {
	zoweSession
	Time         time.Time `json:"time"`
	RequestID    string    `json:"request_id"`
	Client       string    `json:"client"`
	Method       string    `json:"method"`
	Host         string    `json:"host"`
	Path         string    `json:"path"`
	Status       int       `json:"status"`
	DurationMS   float64   `json:"duration_ms"`
	Route        string    `json:"route"`
	Service      string    `json:"service"`
	Instance     string    `json:"instance"`
	User         string    `json:"user,omitempty"`
	Subprotocol  string    `json:"subprotocol,omitempty"`
	Protocol     string    `json:"protocol"`
	TLSVersion   string    `json:"tls_version,omitempty"`
	TLSCipher    string    `json:"tls_cipher,omitempty"`
	BytesIn      int64     `json:"bytes_in"`
	BytesOut     int64     `json:"bytes_out"`
	MessagesIn   int64     `json:"messages_in"`
	MessagesOut  int64     `json:"messages_out"`
	Moves        int       `json:"moves"`
	Uncertain    int       `json:"uncertain"`
	LastActivity time.Time `json:"last_activity"`
	Held         int64     `json:"held"` // bytes that wait in the gateway for a slow peer
}

// view gives one session as `?view=full` asks, or in Zowe's five keys.
func view(v proxy.SessionView, full bool) any {
	rec := &v.Record
	z := zoweSession{
		SessionID: rec.SessionID, ClientAddress: "/" + rec.Client, GatewayPath: v.GatewayPath,
		ServiceURL: v.ServiceURL, ServiceSessionID: v.ServiceSessionID,
	}
	if !full {
		return z
	}
	return fullSession{
		zoweSession: z, Time: rec.Time.UTC(), RequestID: rec.RequestID, Client: rec.Client, Method: rec.Method, Host: rec.Host,
		Path: rec.Path, Status: rec.Status, DurationMS: float64(rec.Duration.Microseconds()) / 1000, Route: rec.Route,
		Service: rec.Service, Instance: rec.Instance, User: rec.User, Subprotocol: rec.Subprotocol, Protocol: rec.Protocol,
		TLSVersion: rec.TLSVersion, TLSCipher: rec.TLSCipher, BytesIn: rec.BytesIn, BytesOut: rec.BytesOut,
		MessagesIn: rec.MessagesIn, MessagesOut: rec.MessagesOut, Moves: rec.Moves, Uncertain: rec.Uncertain,
		LastActivity: v.LastActivity.UTC(), Held: v.Held,
	}
}

// listSessions answers with an array in the order of opening; where a page is full, the
// next one is in Link.
func (s *server) listSessions(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	after, err := number(q, "after", 0, 1<<63)
	if err == nil {
		var limit uint64
		if limit, err = number(q, "limit", defaultPage, maxPage); err == nil {
			s.writePage(w, r, after, max(int(limit), 1), q.Get("view") == "full")
			return
		}
	}
	badRequest(w, err.Error())
}

func (s *server) writePage(w http.ResponseWriter, r *http.Request, after uint64, limit int, full bool) {
	views, more := s.Sessions.List(after, limit)
	page := make([]any, 0, len(views))
	for _, v := range views {
		page = append(page, view(v, full))
	}
	if more && len(views) > 0 {
		q := url.Values{"after": {strconv.FormatUint(views[len(views)-1].Seq, 10)}, "limit": {strconv.Itoa(limit)}}
		if full {
			q.Set("view", "full")
		}
		w.Header().Set("Link", fmt.Sprintf(`<%s?%s>; rel="next"`, r.URL.EscapedPath(), q.Encode()))
	}
	writeJSON(w, http.StatusOK, acceptable(r), page)
}

func (s *server) getSession(w http.ResponseWriter, r *http.Request) {
	v, ok := s.Sessions.Get(r.PathValue("id"))
	if !ok {
		noSession(w)
		return
	}
	writeJSON(w, http.StatusOK, acceptable(r), view(v, true))
}

// closeSession ends a session with ?code= (default 1008) and ?reason=.
func (s *server) closeSession(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	n, err := number(q, "code", uint64(websocket.Policy), 4999)
	code := websocket.Code(n)
	if err == nil && !code.Valid() {
		err = fmt.Errorf("code %d may not stand in a Close frame", n)
	}
	if err != nil {
		badRequest(w, err.Error())
		return
	}
	if !s.Sessions.Close(r.PathValue("id"), code, websocket.Reason(q.Get("reason")), "closed by an operator") {
		noSession(w)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// frames answers with a WebSocket of the session's frames, as they come: a line of JSON for each, with ?payload= bytes of its payload
// (default none).
func (s *server) frames(w http.ResponseWriter, r *http.Request) {
	id := r.PathValue("id")
	if _, ok := s.Sessions.Get(id); !ok {
		noSession(w)
		return
	}
	payload, err := number(r.URL.Query(), "payload", 0, proxy.MaxFramesPayload)
	if err != nil {
		badRequest(w, err.Error())
		return
	}
	out, ok := w.(proxy.FramesWriter)
	if !ok {
		w.WriteHeader(http.StatusNotImplemented) // not behind the gateway's own listeners
		return
	}
	user, _, _ := r.BasicAuth()
	out.ServeFrames(proxy.FramesRequest{ID: id, User: user, Payload: int(payload)})
}

// badRequest is a request that asks for what cannot be.
func badRequest(w http.ResponseWriter, why string) {
	writeError(w, http.StatusBadRequest, "ZWEAO400E", "org.zowe.apiml.common.badRequest", "The structure of the request is invalid: "+why)
}

func noSession(w http.ResponseWriter) {
	writeError(w, http.StatusNotFound, "ZWEAM104E", "org.zowe.apiml.common.endPointNotFound", "There is no live session with this id")
}

func number(q url.Values, key string, missing, most uint64) (uint64, error) {
	text := q.Get(key)
	if text == "" {
		return missing, nil
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil || n > most {
		return 0, fmt.Errorf("%s: want a number up to %d", key, most)
	}
	return n, nil
}

// acceptable picks the content type: Spring Boot's v3 unless the client asks for v2 or plain JSON.
func acceptable(r *http.Request) string {
	accept := r.Header.Get("Accept")
	for _, t := range []string{actuatorType, "application/vnd.spring-boot.actuator.v2+json", "application/json"} {
		if strings.Contains(accept, t) {
			return t
		}
	}
	return actuatorType
}
