// Package interop tries the built gateway from outside: as a separate process, with services
// that register through the Eureka clients of others and with WebSocket clients of others.
// It holds only tests; they are skipped unless FAIRLEAD_INTEROP is set, because they need
// Node.js, Java, Python and Chromium. `make interop` prepares and runs them; README.md tells
// what is tried.
package interop
