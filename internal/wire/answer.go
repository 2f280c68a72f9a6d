package wire

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
)

// Media types of bodies and answers.
const (
	TypeJSON  = "application/json"
	TypeYAML  = "application/yaml"
	TypeText  = "text/plain; charset=utf-8"
	TypeBytes = "application/octet-stream"
)

// What caches may do with an answer: nothing, or keep it and ask again each time.
const (
	NoStore = "no-store"
	NoCache = "no-cache"
)

// Send answers with a body of a media type that caches may keep as cache says. Other
// headers are set before.
func Send(w http.ResponseWriter, status int, media, cache string, body []byte) {
	h := w.Header()
	h.Set("Content-Type", media)
	h.Set("Cache-Control", cache)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body) // a client that left is no fault
}

// SendJSON answers with v in JSON and a final newline, which no cache keeps. Its error
// is that v cannot be encoded, and then nothing was sent.
func SendJSON(w http.ResponseWriter, status int, v any) error {
	var body bytes.Buffer
	enc := json.NewEncoder(&body)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return fmt.Errorf("encode answer: %w", err)
	}
	Send(w, status, TypeJSON, NoStore, body.Bytes())
	return nil
}

// OpenAPI serves an OpenAPI document in YAML.
func OpenAPI(document []byte) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		Send(w, http.StatusOK, TypeYAML, NoCache, document)
	})
}
