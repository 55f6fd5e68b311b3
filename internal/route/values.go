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

// Auth is a value of auth.
type Auth string

const (
	AuthNone  Auth = "none"
	AuthBasic Auth = "basic"
)

// UnmarshalText accepts the values of the type and no others.
func (v *Auth) UnmarshalText(text []byte) error {
	return oneOf(v, text, []string{"bearer", "clientCertificate", "forward"}, AuthNone, AuthBasic)
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
