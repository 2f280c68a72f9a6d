package bundle_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"

	opabundle "github.com/open-policy-agent/opa/v1/bundle"

	"github.com/westworld-charter/charter/internal/bundle"
)

const (
	stateManifest = `{"revision":"state-7","roots":["charter_state"]}`
	stateData     = `{"charter_state":{"standing":{"edge-1":{"state":"suspended"}}}}`
	stateProofs   = `[{"request":{"kind":"restore"}}]`
)

func document(t testing.TB) map[string]any {
	t.Helper()
	doc, err := bundle.ParseObject([]byte(`{"standing":{"edge-1":{"state":"quarantined","reason":"<v1> & more"}},"n":1.50,"expires":"2026-06-01T00:00:00Z"}`))
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

func stateArchive(t testing.TB, sequence int64, proofs ...string) []byte {
	t.Helper()
	var raw []json.RawMessage
	for _, p := range proofs {
		raw = append(raw, json.RawMessage(p))
	}
	s, err := bundle.NewState(sequence, document(t), raw)
	if err != nil {
		t.Fatal(err)
	}
	archive, err := s.Archive()
	if err != nil {
		t.Fatal(err)
	}
	return archive
}

func TestStateRoundTrip(t *testing.T) {
	data := stateArchive(t, 42, `{"request":{"a":1}}`, `{"b":"é"}`)
	if !bytes.Equal(data, stateArchive(t, 42, `{"request":{"a":1}}`, `{"b":"é"}`)) {
		t.Error("the same content makes other bytes")
	}
	s, err := bundle.ReadState(bytes.NewReader(data), bundle.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if s.Sequence() != 42 || s.Revision() != "state-42" || !reflect.DeepEqual(s.Document(), document(t)) {
		t.Errorf("%d %s %v", s.Sequence(), s.Revision(), s.Document())
	}
	if got := fmt.Sprintf("%s", s.Proofs()); got != `[{"request":{"a":1}} {"b":"é"}]` {
		t.Errorf("proofs %s", got)
	}
	if again, err := s.Archive(); err != nil || !bytes.Equal(again, data) {
		t.Errorf("written again it is something else: %v", err)
	}
	if _, err := bundle.Read(bytes.NewReader(data), bundle.Limits{}); code(t, err) != bundle.CodeUnexpectedFile {
		t.Errorf("a bundle of a charter: %v", err)
	}
}

// OPA's own reader agrees about what is in it.
func TestOPAReadsState(t *testing.T) {
	b, err := opabundle.NewReader(bytes.NewReader(stateArchive(t, 42, `{"charter":{"tables":1}}`))).Read()
	if err != nil {
		t.Fatal(err)
	}
	if b.Manifest.Revision != "state-42" || fmt.Sprint(*b.Manifest.Roots) != "[charter_state]" || len(b.Data) != 1 || len(b.Modules) != 0 {
		t.Errorf("%+v, %v", b.Manifest, b.Data)
	}
	standing := b.Data["charter_state"].(map[string]any)["standing"].(map[string]any)
	if got := fmt.Sprint(standing["edge-1"]); got != "map[reason:<v1> & more state:quarantined]" {
		t.Errorf("the node is %s", got)
	}
}

func TestNewStateRefuses(t *testing.T) {
	for name, make := range map[string]func() (*bundle.State, error){
		"sequence 0":  func() (*bundle.State, error) { return bundle.NewState(0, document(t), nil) },
		"too large":   func() (*bundle.State, error) { return bundle.NewState(bundle.MaxSequence+1, document(t), nil) },
		"no document": func() (*bundle.State, error) { return bundle.NewState(1, nil, nil) },
		"no JSON":     func() (*bundle.State, error) { return bundle.NewState(1, map[string]any{"a": make(chan int)}, nil) },
		"bad proof":   func() (*bundle.State, error) { return bundle.NewState(1, document(t), []json.RawMessage{[]byte("{")}) },
		"many": func() (*bundle.State, error) {
			return bundle.NewState(1, document(t), []json.RawMessage{bytes.Repeat([]byte("{},"), bundle.MaxProofs+1)})
		},
	} {
		if s, err := make(); err == nil || s != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestReadStateRefuses(t *testing.T) {
	with := func(m, d, p string) []byte {
		return pack(t, file(".manifest", m), file("data.json", d), file("proofs.json", p))
	}
	manifest := func(m string) []byte { return with(m, stateData, stateProofs) }
	data := func(d string) []byte { return with(stateManifest, d, stateProofs) }
	proofs := func(p string) []byte { return with(stateManifest, stateData, p) }
	for _, tc := range []struct {
		name string
		data []byte
		want string
	}{
		{"good", manifest(stateManifest), ""},
		{"a bundle of a charter", archive(t, newBundle(t, sample())), bundle.CodeUnexpectedFile},
		{"rules", pack(t, file(".manifest", stateManifest), file("data.json", stateData), file("proofs.json", "[]"), file("a.rego", "")), bundle.CodeUnexpectedFile},
		{"below a directory", pack(t, file(".manifest", stateManifest), file("charter_state/data.json", "{}")), bundle.CodeUnexpectedFile},
		{"OPA JWT", pack(t, file(".signatures.json", "{}")), bundle.CodeUnexpectedFile},
		{"data twice", pack(t, file("data.json", stateData), file("data.json", stateData)), bundle.CodeDuplicatePath},
		{"no manifest", pack(t, file("data.json", stateData), file("proofs.json", "[]")), bundle.CodeMissingManifest},
		{"no data", pack(t, file(".manifest", stateManifest), file("proofs.json", "[]")), bundle.CodeBadState},
		{"no proofs", pack(t, file(".manifest", stateManifest), file("data.json", stateData)), bundle.CodeBadState},
		{"root of a charter", manifest(`{"revision":"state-7","roots":["charter"]}`), bundle.CodeBadRoots},
		{"every root", manifest(`{"revision":"state-7","roots":[""]}`), bundle.CodeBadRoots},
		{"two roots", manifest(`{"revision":"state-7","roots":["charter_state","charter"]}`), bundle.CodeBadRoots},
		{"no roots", manifest(`{"revision":"state-7"}`), bundle.CodeBadManifest},
		{"more in the manifest", manifest(`{"revision":"state-7","roots":["charter_state"],"wasm":[]}`), bundle.CodeBadManifest},
		{"revision twice", manifest(`{"revision":"state-7","revision":"state-8","roots":["charter_state"]}`), bundle.CodeBadManifest},
		{"no number", manifest(`{"revision":"state-x","roots":["charter_state"]}`), bundle.CodeBadManifest},
		{"sequence 0", manifest(`{"revision":"state-0","roots":["charter_state"]}`), bundle.CodeBadManifest},
		{"written otherwise", manifest(`{"revision":"state-+7","roots":["charter_state"]}`), bundle.CodeBadManifest},
		{"not exact in JSON", manifest(`{"revision":"state-9007199254740992","roots":["charter_state"]}`), bundle.CodeBadManifest},
		{"revision of a charter", manifest(`{"revision":"mini-1.0.0","roots":["charter_state"]}`), bundle.CodeBadManifest},
		{"data is a list", data(`[]`), bundle.CodeBadState},
		{"another root", data(`{"charter":{}}`), bundle.CodeBadState},
		{"a second root", data(`{"charter_state":{},"charter":{}}`), bundle.CodeBadState},
		{"the document is null", data(`{"charter_state":null}`), bundle.CodeBadState},
		{"a node twice", data(`{"charter_state":{"standing":{"a":{},"a":{}}}}`), bundle.CodeBadState},
		{"not UTF-8", data("{\"charter_state\":{\"\xff\":1}}"), bundle.CodeBadState},
		{"deep", data(`{"charter_state":` + strings.Repeat(`{"a":`, 64) + "1" + strings.Repeat("}", 65)), bundle.CodeBadState},
		{"proofs are no list", proofs(`{}`), bundle.CodeBadState},
		{"a proof is no object", proofs(`[{},1]`), bundle.CodeBadState},
		{"a name twice in a proof", proofs(`[{"a":1,"a":2}]`), bundle.CodeBadState},
		{"too many proofs", proofs("[{}" + strings.Repeat(",{}", bundle.MaxProofs) + "]"), bundle.CodeBadState},
		{"many values", data(`{"charter_state":{"a":[0` + strings.Repeat(",0", 2_000_000) + `]}}`), bundle.CodeBadState},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s, err := bundle.ReadState(bytes.NewReader(tc.data), bundle.Limits{})
			if got := code(t, err); got != tc.want || (s == nil) != (tc.want != "") {
				t.Errorf("code %q, want %q: %v", got, tc.want, err)
			}
		})
	}
	bomb := data(`{"charter_state":{"a":"` + strings.Repeat("0", 5<<20) + `"}}`)
	if _, err := bundle.ReadState(bytes.NewReader(bomb), bundle.Limits{Unpacked: 1 << 20}); code(t, err) != bundle.CodeTooLarge {
		t.Errorf("a decompression bomb: %v", err)
	}
}

func FuzzReadState(f *testing.F) {
	f.Add(stateArchive(f, 42, `{"request":{"a":1}}`))
	f.Add(pack(f, file(".manifest", stateManifest), file("data.json", stateData), file("proofs.json", stateProofs)))
	f.Add(archive(f, newBundle(f, sample())))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := bundle.ReadState(bytes.NewReader(data), bundle.Limits{Compressed: 1 << 20, Unpacked: 1 << 20})
		if err != nil {
			_ = code(t, err)
			return
		}
		archive, err := s.Archive()
		if err != nil {
			t.Fatal(err)
		}
		again, err := bundle.ReadState(bytes.NewReader(archive), bundle.Limits{})
		if err != nil || again.Sequence() != s.Sequence() || !reflect.DeepEqual(again.Document(), s.Document()) || len(again.Proofs()) != len(s.Proofs()) {
			t.Fatalf("it is not the same when it was written: %v", err)
		}
		if _, err := bundle.Read(bytes.NewReader(data), bundle.Limits{}); err == nil {
			t.Fatal("it is a bundle of a charter, too")
		}
	})
}

// The parts of an archive as somebody with the key may fill them.
func FuzzStateFiles(f *testing.F) {
	f.Add(stateManifest, stateData, stateProofs)
	f.Add(`{"revision":"state-1","roots":["charter"]}`, `{"charter_state":{"overrides":[]}}`, `[]`)
	f.Fuzz(func(t *testing.T, manifest, data, proofs string) {
		s, err := bundle.ReadState(bytes.NewReader(pack(t, file(".manifest", manifest), file("data.json", data), file("proofs.json", proofs))), bundle.Limits{})
		if err != nil {
			_ = code(t, err)
			return
		}
		if s.Sequence() < 1 || s.Document() == nil || !strings.Contains(manifest, fmt.Sprint(s.Sequence())) {
			t.Fatalf("%d, %v", s.Sequence(), s.Document())
		}
	})
}
