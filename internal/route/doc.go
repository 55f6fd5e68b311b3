// Package route is the table that the data plane sees: which path leads to which service,
// and under which policy.
//
// A Table is immutable. Sources publish Routes, Build makes a Table of them, and the proxy asks
// it once per request: CheckPath first, then Match. The raw bytes of a path are never changed on
// the way: Match cuts the prefix off, Match.Upstream puts the service's own prefix in its place.
package route
