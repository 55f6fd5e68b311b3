// Package upstream knows where services run: endpoints that outlive every route table,
// the choice among them, and the way to reach one over TCP and TLS.
//
// A Pool interns endpoints. A source of routes asks it for a Service, an immutable list of
// the endpoints that may take new sessions; asking again for the same name gives the same
// *Endpoint values back, with the load they carry. What the newest list of a service no
// longer holds is leaving: it takes no new session and keeps those it has.
package upstream
