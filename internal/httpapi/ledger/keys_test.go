package ledgerapi

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/westworld-charter/charter/internal/keyring"
	"github.com/westworld-charter/charter/internal/ledger"
	"github.com/westworld-charter/charter/internal/wire"
)

func (s *site) change(path string) keyring.Change {
	s.t.Helper()
	var c keyring.Change
	if err := json.Unmarshal(s.do(http.MethodPost, path, operator, "").want(s.t, 200).body, &c); err != nil {
		s.t.Fatal(err)
	}
	return c
}

// Keys are changed once however often it is asked for, in the name of who asked.
func TestChangeKeys(t *testing.T) {
	s := newSite(t, 5)
	first := s.change(rotatePath)
	if !first.Changed || first.Entry == nil || *first.Entry != 5 || first.Previous != s.key.VerifierKey() {
		t.Fatalf("%+v", first)
	}
	if again := s.change(rotatePath); again.Changed || again.Key != first.Key || again.Entry == nil || *again.Entry != 5 {
		t.Errorf("%+v", again)
	}
	if retired := s.change(retirePath); !retired.Changed || retired.Previous != "" || retired.Key != first.Key || *retired.Entry != 6 {
		t.Errorf("%+v", retired)
	}
	if again := s.change(retirePath); again.Changed || again.Entry != nil {
		t.Errorf("%+v", again)
	}
	for _, index := range []string{"5", "6"} {
		var e struct{ Entry ledger.Entry }
		if err := json.Unmarshal(s.get(entriesPath+"/"+index).want(t, 200).body, &e); err != nil || e.Entry.Principal != "token:ana" {
			t.Errorf("%v: %+v", err, e)
		}
	}
	want := first.Key + " 6-\n" + s.key.VerifierKey() + " 0-6\n"
	if a := s.get(keysPath).want(t, 200); string(a.body) != want {
		t.Errorf("%s", a.body)
	}
}

// What stands in the way has a code, and nothing is changed.
func TestChangeOfKeysFails(t *testing.T) {
	s := newSite(t, 5)
	refused := func(status int, code string) {
		t.Helper()
		if a := s.do(http.MethodPost, rotatePath, operator, "").want(t, status); !strings.Contains(string(a.body), `"code":"`+code+`"`) {
			t.Errorf("%s", a.body)
		}
		if key := s.ring.Key(); key != s.key.VerifierKey() {
			t.Errorf("the key was changed to %s", key)
		}
	}
	in := filepath.Join(s.dir, filepath.FromSlash(keyring.NextFile)+".next")
	if err := os.Mkdir(in, 0o700); err != nil { // nobody can write there, root included
		t.Fatal(err)
	}
	refused(500, codeKeyNotSaved)
	if err := os.Remove(in); err != nil {
		t.Fatal(err)
	}
	if err := s.log.Close(); err != nil {
		t.Fatal(err)
	}
	refused(503, wire.CodeAuditUnavailable)
}
