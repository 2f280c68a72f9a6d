package export_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"testing"

	"github.com/westworld-charter/charter/internal/export"
)

func digestOf(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// Files and manifests come from outside: whatever they hold, reading them ends
// without a panic, and a record that is accepted is written the same way again.
func FuzzRead(f *testing.F) {
	f.Add("ndjson", []byte(`{"index":0,"cid":"b","kind":"denial","schema":1,"time":"2026-01-01T00:00:00.000000000Z"}`))
	f.Add("json", []byte("[\n]\n"))
	f.Add("csv", []byte("index,time\n"))
	f.Add("parquet", []byte("PAR1PAR1"))
	f.Fuzz(func(t *testing.T, format string, data []byte) {
		for r, err := range export.Read(export.Format(format), bytes.NewReader(data), int64(len(data))) {
			if err != nil {
				return
			}
			if line := export.AppendJSON(nil, r.Index, r.Body); !bytes.Contains(line, r.Body[1:]) {
				t.Fatalf("%s", line)
			}
		}
	})
}

func FuzzManifest(f *testing.F) {
	f.Add([]byte("{}\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, text, err := export.ParseManifest(data)
		if err != nil {
			return
		}
		if again, err := m.Text(); err != nil || !bytes.Equal(again, text) {
			t.Fatalf("%v: %s", err, again)
		}
	})
}
