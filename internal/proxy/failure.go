package proxy

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/fairlead-gateway/fairlead/internal/auth"
	"github.com/fairlead-gateway/fairlead/internal/http1"
	"github.com/fairlead-gateway/fairlead/internal/route"
	"github.com/fairlead-gateway/fairlead/internal/upstream"
	"github.com/fairlead-gateway/fairlead/internal/websocket"
)

// A failure is a request or a handshake that does not reach its service, with both of its
// wire answers: an HTTP status with Zowe's message, and a close code with a reason.
type failure struct {
	status  int
	fields  http1.Fields // go with the status: Allow, WWW-Authenticate, …
	message Message
	text    string // goes with the status in place of message, as plain text
	detail  string // of RFC 9457; "": text, or what message says
	bare    bool   // the status goes with fields and content alone
	content []byte // of bare
	code    websocket.Code
	reason  string
	cause   string       // for the access log: what happened, in words
	answer  *answerError // the service's own answer to a handshake; its body may still be read
	http    bool         // always an HTTP status, whatever websocket.connectFailure says
}

func (f *failure) Error() string { return f.cause }

// A Message is one entry of Zowe's error document.
type Message struct {
	Type    string `json:"messageType"`
	Number  string `json:"messageNumber"`
	Content string `json:"messageContent"`
	Action  string `json:"messageAction,omitempty"`
	Reason  string `json:"messageReason,omitempty"`
	Key     string `json:"messageKey"`
}

// ErrorMessage fills a text of Zowe's. What stands in it for a client's words is escaped for
// HTML, as Zowe does: the document may end up on a page.
func ErrorMessage(number, key, format string, args ...any) Message {
	for i, a := range args {
		args[i] = forHTML.Replace(fmt.Sprint(a))
	}
	return Message{Type: "ERROR", Number: number, Key: key, Content: fmt.Sprintf(format, args...)}
}

// forHTML escapes what Zowe's escapes, which leaves the apostrophe.
var forHTML = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&quot;")

// document is Zowe's error document.
func (m Message) document() []byte {
	var body bytes.Buffer
	enc := json.NewEncoder(&body)
	enc.SetEscapeHTML(false)                              // the content is escaped already
	_ = enc.Encode(map[string][]Message{"messages": {m}}) // strings: cannot fail
	return body.Bytes()
}

// WriteJSON answers with Zowe's error document.
func (m Message) WriteJSON(w http.ResponseWriter, status int) {
	body, h := m.document(), w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write(body) // the client is gone if this fails; its access-log line says so
}

// statusClientGone stands in the access log where the client went before an answer; it
// is never sent.
const statusClientGone = 499

// Errors that serve as both answers where no more detail is due.
var (
	errClientGone = errors.New("client gone")
	errResponse   = errors.New("no answer within timeouts.response")
)

// failed turns what went wrong on the way to a service into its wire answers; it is the
// only place that does. target is what the client asked for, redacted; serviceID may be empty.
func failed(err error, target, serviceID string) *failure {
	var (
		f        *failure
		path     *route.PathError
		hs       *websocket.HandshakeError
		denied   *auth.Error
		dial     *upstream.DialError
		answered *answerError
		netErr   interface{ Timeout() bool }
	)
	timeout := errors.Is(err, context.DeadlineExceeded) || errors.Is(err, errResponse) || errors.As(err, &netErr) && netErr.Timeout()
	switch {
	case errors.As(err, &f):
		return f
	case errors.As(err, &path):
		return badRequest(path.Error())
	case errors.As(err, &hs):
		f = badRequest(hs.Reason)
		f.status, f.cause = hs.Status, "handshake refused: "+hs.Reason
		for _, field := range hs.Fields {
			f.fields.Add(field[0], field[1])
		}
		if hs.Status == http.StatusMethodNotAllowed {
			f.message = methodNotAllowed()
		}
		return f
	case errors.As(err, &denied):
		return deniedFailure(denied, target)
	case errors.Is(err, upstream.ErrNoEndpoint):
		return &failure{
			status: http.StatusServiceUnavailable, cause: "no instance", detail: "No endpoint of the service takes requests.",
			message: ErrorMessage("ZWEAG710E", "org.zowe.apiml.gateway.loadBalancerDoesNotHaveAvailableServer", "Load balancer does not have available server for client: %s", serviceID),
			code:    websocket.ServiceRestart, reason: "Requested service " + serviceID + " does not have available instance",
		}
	case errors.Is(err, upstream.ErrNoHealthy):
		return &failure{
			status: http.StatusServiceUnavailable, cause: err.Error(), detail: "No endpoint of the service is healthy.",
			message: ErrorMessage("ZWEAG710E", "org.zowe.apiml.gateway.loadBalancerDoesNotHaveAvailableServer", "Load balancer does not have available server for client: %s: %s", serviceID, err.Error()),
			code:    websocket.ServiceRestart, reason: "Requested service " + serviceID + " does not have available instance: " + err.Error(),
		}
	case errors.As(err, &answered):
		return answered.failure(target)
	case errors.Is(err, errClientGone) || errors.Is(err, context.Canceled):
		return &failure{status: statusClientGone, cause: "client gone", code: websocket.GoingAway, reason: "client gone"}
	case overloaded(err):
		return overLimit("connections")
	case timeout:
		return &failure{
			status: http.StatusGatewayTimeout, cause: "timeout: " + err.Error(), detail: "The service did not answer in time.",
			message: ErrorMessage("ZWEAM700E", "org.zowe.apiml.common.serviceTimeout", "No response received within the allowed time: %s", "the service did not answer in time"),
			code:    websocket.Internal, reason: "Connection timed out: the service did not answer in time",
		}
	case errors.As(err, &dial) && dial.Op == "tls":
		return &failure{
			status: http.StatusBadGateway, cause: err.Error(), detail: "The TLS handshake with the service failed.",
			message: ErrorMessage("ZWEAM511E", "org.zowe.apiml.common.tlsError", "There was a TLS request error accessing the URL '%s': '%s'", target, "TLS handshake with the service failed"),
			code:    websocket.Internal, reason: "TLS handshake with the service failed",
		}
	case errors.As(err, &dial):
		why := "Connection refused"
		if dial.Op == "resolve" {
			why = "Unknown host"
		}
		return &failure{
			status: http.StatusBadGateway, cause: err.Error(), detail: "The service could not be reached.",
			message: ErrorMessage("ZWEAG708E", "org.zowe.apiml.gateway.connectionRefused", "The request to the URL '%s' failed after retrying on all known service instances. Caused by: %s", target, why),
			code:    websocket.Internal, reason: why,
		}
	default:
		return &failure{
			status: http.StatusBadGateway, cause: err.Error(), detail: "The connection to the service was lost, or its answer could not be read.",
			message: ErrorMessage("ZWEAM701E", "org.zowe.apiml.common.serviceError", "The request to the URL '%s' has failed: %s caused by: %s", target, "the service's answer could not be read", "connection lost"),
			code:    websocket.Internal, reason: "Connection to the service was lost during the handshake",
		}
	}
}

func originRefused() *failure {
	return &failure{
		status: http.StatusForbidden, cause: "origin refused", http: true,
		text: "Invalid CORS request",
	}
}

// pathRefused is a path that the route does not take (zowe.md, section 5.6), or one by which a client could pass another route's
// authentication by. Nil: it is taken.
func (x *exchange) pathRefused() *failure {
	switch p := x.to.policy.EncodedPath; {
	case x.ambiguous:
		return badRequest("a service could read this path as one that asks for credentials")
	case p == route.EncodedNothing && strings.ContainsAny(x.path, "%;"):
		return x.encodedRefused(ErrorMessage("ZWEAG701E", "org.zowe.apiml.gateway.requestContainEncodedCharacter",
			"Service '%s' does not allow encoded characters in the request path: '%s'.", x.to.ServiceID, x.path))
	case p == route.EncodedNoSlash && (strings.Contains(x.path, "%2F") || strings.Contains(x.path, "%2f")):
		return x.encodedRefused(ErrorMessage("ZWEAG702E", "org.zowe.apiml.gateway.requestContainEncodedSlash",
			"Gateway does not allow encoded slashes in request: '%s'.", x.path))
	}
	return nil
}

func (x *exchange) encodedRefused(m Message) *failure {
	return &failure{
		status: http.StatusBadRequest, cause: "encoded characters refused", http: true, message: m,
		detail: "The path holds an encoded character, or a \";\", that is not taken here: " + x.path,
	}
}

func methodNotAllowed() Message {
	return ErrorMessage("ZWEAO405E", "org.zowe.apiml.common.methodNotAllowed", "The request method has been disabled and cannot be used for the requested resource.")
}

func badRequest(why string) *failure {
	return &failure{
		status: http.StatusBadRequest, cause: "bad request: " + why, http: true, detail: "The request is not valid: " + why,
		message: ErrorMessage("ZWEAO400E", "org.zowe.apiml.common.badRequest", "The structure of the request is invalid: %s", why),
	}
}

func notFound(target string) *failure {
	return &failure{
		status: http.StatusNotFound, cause: "no route", http: true, detail: "No route for " + target,
		message: ErrorMessage("ZWEAM104E", "org.zowe.apiml.common.endPointNotFound", "The endpoint you are looking for '%s' could not be located", target),
	}
}

// deniedFailure is a client that was not let in (zowe.md, section 5.9).
func deniedFailure(e *auth.Error, target string) *failure {
	f := &failure{status: e.Status, cause: "refused: " + e.Reason, code: websocket.Unsupported, reason: "Invalid login credentials"}
	switch {
	case e.Status == http.StatusUnauthorized && (e.Reason == auth.NoCredentials || e.Reason == auth.NoToken):
		f.fields.Add("WWW-Authenticate", e.Challenge)
		f.detail = "Authentication is required."
		f.message = ErrorMessage("ZWEAG105E", "org.zowe.apiml.security.authRequired", "Authentication is required for URL '%s'", target)
	case e.Status == http.StatusUnauthorized && e.Reason == auth.TokenExpired:
		f.fields.Add("WWW-Authenticate", e.Challenge)
		f.detail = "The token has expired."
		f.message = ErrorMessage("ZWEAG103E", "org.zowe.apiml.security.expiredToken", "The token has expired for URL '%s'", target)
	case e.Status == http.StatusUnauthorized && e.OfToken():
		f.fields.Add("WWW-Authenticate", e.Challenge)
		f.detail = "The token is not valid."
		f.message = ErrorMessage("ZWEAG102E", "org.zowe.apiml.security.query.invalidToken", "Token is not valid for URL '%s'", target)
	case e.Status == http.StatusUnauthorized:
		f.fields.Add("WWW-Authenticate", e.Challenge)
		f.detail = "The user name or the password is not valid."
		f.message = ErrorMessage("ZWEAG120E", "org.zowe.apiml.security.login.invalidCredentials", "Invalid username or password for URL '%s'", target)
	case e.Status == http.StatusForbidden && e.Reason == auth.NoCertificate:
		f.detail = "A client certificate is required."
		f.message = ErrorMessage("ZWEAG105E", "org.zowe.apiml.security.authRequired", "Authentication is required for URL '%s'", target)
	case e.Status == http.StatusForbidden:
		if e.Challenge != "" { // RFC 6750, section 3.1
			f.fields.Add("WWW-Authenticate", e.Challenge)
		}
		f.detail = "The user may not do this."
		f.message = ErrorMessage("ZWEAT403E", "org.zowe.apiml.security.forbidden", "The service accepted the authentication of the user but the user does not have access right to the resource.")
	default:
		f.code, f.reason = websocket.TryAgain, "Authentication is not available"
		f.message = ErrorMessage("ZWEAO503E", "org.zowe.apiml.common.serviceUnavailable", "The server is not ready to handle the request: authentication is not available")
	}
	return f
}

// An answerError is a service that answered a handshake with something else than a good 101.
type answerError struct {
	head   *http1.Response
	conn   *http1.ClientConn // has the body, and is owned by the failure's writer; nil after a bad 101
	reason string            // why a 101 was refused; "" for any other status
}

func (e *answerError) Error() string {
	if e.reason != "" {
		return "service: bad 101: " + e.reason
	}
	return "service answered " + strconv.Itoa(e.head.Status) + " " + e.head.Reason
}

// failure follows zowe.md section 2: 401 is a matter of credentials, other statuses below
// 500 are 1003, the rest 1011; the text is Jetty's without its class name.
func (e *answerError) failure(target string) *failure {
	f := &failure{status: http.StatusBadGateway, cause: e.Error(), code: websocket.Internal}
	f.message = ErrorMessage("ZWEAM701E", "org.zowe.apiml.common.serviceError", "The request to the URL '%s' has failed: %s caused by: %s", target, "the service refused the WebSocket handshake", e.Error())
	if e.reason != "" {
		f.reason = "Failed to upgrade to websocket: the service's handshake is invalid: " + e.reason
		return f
	}
	code := e.head.Status
	f.status, f.answer = code, e
	f.reason = fmt.Sprintf("Failed to upgrade to websocket: Unexpected HTTP Response Status Code: %d %s", code, http.StatusText(code))
	switch {
	case code == http.StatusUnauthorized:
		f.code, f.reason = websocket.Unsupported, "Invalid login credentials"
	case code < http.StatusInternalServerError:
		f.code = websocket.Unsupported
	}
	return f
}

// malformed is a request whose head the parser refuses (V3 to V13 of what a gateway must not pass on).
func malformed(e *http1.Error) *failure {
	f := badRequest(e.Reason)
	f.status, f.cause = e.Status, "malformed: "+e.Reason
	return f
}

// unreadable is a request whose body the client broke off or framed wrongly: its own fault,
// not the service's.
func unreadable(err error) *failure {
	var bad *http1.Error
	switch {
	case errors.As(err, &bad) && bad.Status == http.StatusRequestEntityTooLarge:
		return tooLarge()
	case errors.Is(err, os.ErrDeadlineExceeded):
		f := badRequest("its body could not be read")
		f.status, f.cause = http.StatusRequestTimeout, f.cause+": "+err.Error()
		return f
	}
	f := badRequest("its body could not be read")
	f.cause += ": " + err.Error()
	return f
}

// tooLarge is a body above limits.requestBody.
func tooLarge() *failure {
	return &failure{
		status: http.StatusRequestEntityTooLarge, cause: "limit reached: requestBody", http: true,
		message: ErrorMessage("ZWEAO413E", "org.zowe.apiml.common.requestTooLarge", "The body of the request is larger than the gateway accepts."),
	}
}

// tooMany is a client above limits.requestRate, which should wait.
func tooMany(wait time.Duration) *failure {
	seconds := strconv.Itoa(int(math.Ceil(wait.Seconds())))
	return &failure{
		status: http.StatusTooManyRequests, cause: "limit reached: requestRate", http: true,
		fields:  http1.Fields{{Name: "Retry-After", Value: seconds}},
		message: ErrorMessage("ZWEAO429E", "org.zowe.apiml.common.tooManyRequests", "Too many requests: the next one is served in %s s.", seconds),
	}
}
