package route

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// errUnavailable is the cause where a value or field belongs to a later version.
var errUnavailable = errors.New("not available in this version")

// ConnectFailure is a value of websocket.connectFailure.
type ConnectFailure string

const (
	CloseOnFailure  ConnectFailure = "close"  // 101, then Close
	StatusOnFailure ConnectFailure = "status" // an HTTP status
)

// UnmarshalText accepts the values of the type and no others.
func (v *ConnectFailure) UnmarshalText(text []byte) error {
	return oneOf(v, text, nil, CloseOnFailure, StatusOnFailure)
}

// IdleCounts is a value of websocket.idleCounts.
type IdleCounts string

const (
	Frames   IdleCounts = "frames"   // any frame of a peer
	Messages IdleCounts = "messages" // data only
)

// UnmarshalText accepts the values of the type and no others.
func (v *IdleCounts) UnmarshalText(text []byte) error {
	return oneOf(v, text, nil, Frames, Messages)
}

// Auth is a value of auth: none, or the ways to authenticate of which any will do, in the order in which they stand here, with ", ".
type Auth string

const (
	AuthNone        Auth = "none"
	AuthBasic       Auth = "basic"
	AuthBearer      Auth = "bearer"
	AuthCertificate Auth = "clientCertificate"
)

// authWays are the ways that there are, and those of later versions.
var authWays, laterWays = []Auth{AuthBasic, AuthBearer, AuthCertificate}, []Auth{"forward"}

// UnmarshalText accepts one way, or several with commas.
func (v *Auth) UnmarshalText(text []byte) error {
	return v.UnmarshalList(strings.Split(string(text), ","))
}

// UnmarshalList accepts ways in any order.
func (v *Auth) UnmarshalList(items []string) error {
	var ways []Auth
	for _, item := range items {
		way := Auth(strings.TrimSpace(item))
		switch {
		case way == AuthNone && len(items) > 1:
			return errors.New("none goes with nothing else")
		case way == AuthNone || slices.Contains(authWays, way):
		case slices.Contains(laterWays, way):
			return fmt.Errorf("%q: %w", string(way), errUnavailable)
		default:
			return fmt.Errorf("%q: want none, or one or more of %s", string(way), joined(authWays, ", "))
		}
		if slices.Contains(ways, way) {
			return fmt.Errorf("%q is there twice", string(way))
		}
		ways = append(ways, way)
	}
	if len(ways) == 0 {
		return errors.New("want none, or at least one way to authenticate")
	}
	*v = ordered(ways)
	return nil
}

func joined(ways []Auth, separator string) string {
	var b strings.Builder
	for i, way := range ways {
		if i > 0 {
			b.WriteString(separator)
		}
		b.WriteString(string(way))
	}
	return b.String()
}

func ordered(ways []Auth) Auth {
	if slices.Contains(ways, AuthNone) {
		return AuthNone
	}
	kept := slices.DeleteFunc(slices.Clone(authWays), func(way Auth) bool { return !slices.Contains(ways, way) })
	return Auth(joined(kept, ", "))
}

// On tells whether anything is asked of clients.
func (v Auth) On() bool { return v != AuthNone && v != "" }

// Has tells whether way is one that will do.
func (v Auth) Has(way Auth) bool {
	return v == way || strings.Contains(string(v), ", ") && slices.Contains(v.ways(), way)
}

func (v Auth) ways() (ways []Auth) {
	for way := range strings.SplitSeq(string(v), ", ") {
		ways = append(ways, Auth(way))
	}
	return ways
}

// tighterAuth is what both bound and asked let in. Where no way is in both, bound holds.
func tighterAuth(bound, asked Auth) Auth {
	switch {
	case !asked.On():
		return bound
	case !bound.On():
		return asked
	}
	both := slices.DeleteFunc(bound.ways(), func(way Auth) bool { return !asked.Has(way) })
	if len(both) == 0 {
		return bound
	}
	return ordered(both)
}

// AuthExpiry is a value of websocket.onAuthExpiry.
type AuthExpiry string

const (
	CloseOnAuthExpiry  AuthExpiry = "close"  // 1008
	IgnoreOnAuthExpiry AuthExpiry = "ignore" // the session goes on
)

// UnmarshalText accepts the values of the type and no others.
func (v *AuthExpiry) UnmarshalText(text []byte) error {
	return oneOf(v, text, nil, CloseOnAuthExpiry, IgnoreOnAuthExpiry)
}

// HostHeader is a value of hostHeader.
type HostHeader string

const (
	HostOfEndpoint HostHeader = "endpoint"
	HostOfClient   HostHeader = "client"
)

// UnmarshalText accepts the values of the type and no others.
func (v *HostHeader) UnmarshalText(text []byte) error {
	return oneOf(v, text, nil, HostOfEndpoint, HostOfClient)
}

// EncodedPath is a value of encodedPath.
type EncodedPath string

const (
	EncodedAny     EncodedPath = "any"        // as they came
	EncodedNoSlash EncodedPath = "no-slashes" // "%2F" is refused
	EncodedNothing EncodedPath = "none"       // "%" and ";" are refused
)

// UnmarshalText accepts the values of the type and no others.
func (v *EncodedPath) UnmarshalText(text []byte) error {
	return oneOf(v, text, nil, EncodedAny, EncodedNoSlash, EncodedNothing)
}

// stricter is the value that refuses more.
func stricter(a, b EncodedPath) EncodedPath {
	if a == EncodedNothing || b == EncodedAny {
		return a
	}
	return b
}

// Failover is a value of websocket.failover.
type Failover string

const (
	FailoverAuto      Failover = "auto"      // reconnect where that is likely to be right
	FailoverReconnect Failover = "reconnect" // at most once
	FailoverReplay    Failover = "replay"    // at least once
	FailoverOff       Failover = "off"       // a Close
)

// UnmarshalText accepts the values of the type and no others.
func (v *Failover) UnmarshalText(text []byte) error {
	return oneOf(v, text, nil, FailoverAuto, FailoverReconnect, FailoverReplay, FailoverOff)
}

// Wait is a value of websocket.drain and websocket.onUnhealthy.
type Wait string

const (
	WaitForEnd Wait = "wait"  // sessions stay
	MoveAway   Wait = "move"  // they go on at another endpoint, or get 1012
	CloseAll   Wait = "close" // they get 1012
)

// UnmarshalText accepts the values of the type and no others.
func (v *Wait) UnmarshalText(text []byte) error {
	return oneOf(v, text, nil, WaitForEnd, MoveAway, CloseAll)
}

// Rebalance is a value of websocket.rebalance.
type Rebalance string

const (
	RebalanceOff  Rebalance = "off"
	RebalanceAuto Rebalance = "auto" // when an endpoint joins
)

// UnmarshalText accepts the values of the type and no others.
func (v *Rebalance) UnmarshalText(text []byte) error {
	return oneOf(v, text, nil, RebalanceOff, RebalanceAuto)
}

// oneOf sets v to text if it is one of values; later are those of later versions.
func oneOf[T ~string](v *T, text []byte, later []string, values ...T) error {
	if slices.Contains(values, T(text)) {
		*v = T(text)
		return nil
	}
	if slices.Contains(later, string(text)) {
		return fmt.Errorf("%q: %w", text, errUnavailable)
	}
	names := make([]string, len(values))
	for i, name := range values {
		names[i] = string(name)
	}
	return fmt.Errorf("%q: want %s", text, strings.Join(names, " or "))
}
