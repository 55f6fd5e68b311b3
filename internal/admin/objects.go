package admin

import "net/http"

// objects lists what became of each Gateway API object: its name and its status, with the conditions as the
// specification has them.
func (s *server) objects(w http.ResponseWriter, _ *http.Request) {
	var all any = []struct{}{}
	if s.Objects != nil {
		all = s.Objects()
	}
	writeJSON(w, http.StatusOK, "application/json", all)
}
