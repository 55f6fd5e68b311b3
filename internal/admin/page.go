package admin

import (
	"embed"
	"net/http"
)

//go:embed web
var web embed.FS

// pagePolicy lets the page run its own script, and nothing else (W3C Content Security Policy). No other page may frame it: its
// buttons close sessions.
const pagePolicy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'; " +
	"form-action 'none'; frame-ancestors 'none'"

// page serves one file of the live page.
func page(name string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", pagePolicy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "no-referrer")
		http.ServeFileFS(w, r, web, "web/"+name)
	}
}
