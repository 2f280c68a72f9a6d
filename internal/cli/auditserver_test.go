package cli

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	ledgerapi "github.com/westworld-charter/charter/internal/httpapi/ledger"
	"github.com/westworld-charter/charter/internal/ledger"
	"github.com/westworld-charter/charter/internal/ledger/ledgertest"
	"github.com/westworld-charter/charter/internal/witness"
)

// served is a ledger behind the HTTP API of the server.
type served struct {
	url    string
	store  *ledgertest.Memory
	log    *ledger.Log
	signer ledger.Signer
	// between, unless nil, may answer a request itself, or change the answer.
	between atomic.Pointer[func(w http.ResponseWriter, r *http.Request, next http.Handler)]
}

// newServed serves a ledger of denials; the public key is in log.pub.
func newServed(t *testing.T, denials int, change func(*ledger.Options)) *served {
	t.Helper()
	t.Chdir(t.TempDir())
	s := &served{store: ledgertest.NewMemory(), signer: ledgertest.NewSigner(t)}
	write(t, "log.pub", s.signer.VerifierKey()+"\n")
	s.log = ledgertest.NewLog(t, s.store, s.signer, change)
	var all []ledger.Entry
	for n := range denials {
		all = append(all, ledgertest.Denial(n))
	}
	if _, err := s.log.AppendAll(t.Context(), all, ledger.Durable); err != nil {
		t.Fatal(err)
	}
	routes, err := ledgerapi.Routes(ledgerapi.Options{Reader: s.log.Reader()})
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	for _, r := range routes {
		path := strings.NewReplacer("*", "{rest...}", ":index", "{index}").Replace(r.Path)
		mux.Handle(r.Method+" "+path, r.Handler)
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if between := s.between.Load(); between != nil {
			(*between)(w, r, mux)
			return
		}
		mux.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	s.url = server.URL
	return s
}

func (s *served) intercept(f func(w http.ResponseWriter, r *http.Request, next http.Handler)) {
	s.between.Store(&f)
}

// Over HTTP, the commands say what they say about a directory.
func TestAuditOverHTTP(t *testing.T) {
	s := newServed(t, 2300, nil)
	at := func(args string) []string { return append(strings.Fields(args), "--server", s.url) }
	if rows := lines(ok(t, at("audit list --format ndjson")...)); len(rows) != 2300 || !strings.HasPrefix(rows[2299], `{"index":2299,`) {
		t.Errorf("%d rows", len(rows))
	}
	if rows := lines(ok(t, at("audit list --format ndjson --newest --limit 1500")...)); len(rows) != 1500 || !strings.HasPrefix(rows[1499], `{"index":800,`) {
		t.Errorf("%d rows", len(rows))
	}
	if rows := lines(ok(t, at("audit --node edge-7 --severity critical --kind denial --since 1h --until 2999-01-01 --text GPS")...)); len(rows) != 24 {
		t.Errorf("%d rows", len(rows))
	}
	if text := ok(t, at("audit verify --key log.pub")...); !strings.Contains(text, "2300 entries") || !strings.Contains(text, "anchored") {
		t.Error(text)
	}
	ok(t, at("audit prove 1234 -o r")...)
	ok(t, strings.Fields("audit check-receipt r --key log.pub")...)
	if text := ok(t, at("audit show 1234")...); !strings.Contains(text, "not verified: no public key") {
		t.Error(text)
	}
	ok(t, at("export -o x.parquet --from 100 --to 2000")...)
	ok(t, strings.Fields("audit check-export x.parquet --key log.pub")...)

	// A part of a bundle was pruned.
	seal := ledger.Entry{Kind: ledger.Sealed, Data: []byte(`{"from":0,"manifest":"b","to":700}`)}
	if _, err := s.log.Append(t.Context(), seal, ledger.Durable); err != nil {
		t.Fatal(err)
	}
	if err := s.store.Prune(t.Context(), 700); err != nil {
		t.Fatal(err)
	}
	if text := ok(t, at("audit verify --key log.pub --format json")...); !strings.Contains(text, `"pruned": 700`) {
		t.Error(text)
	}
	if rows := lines(ok(t, at("export --format ndjson")...)); len(rows) != 1601 || !strings.HasPrefix(rows[0], `{"index":700,`) {
		t.Errorf("%d rows", len(rows))
	}
	if text := ok(t, at("audit show 42 --key log.pub")...); !strings.Contains(text, "pruned") {
		t.Error(text)
	}
}

// A server cannot lie to whoever has the key.
func TestServersThatLie(t *testing.T) {
	s := newServed(t, 600, nil)
	altered := func(path, old, replacement string) {
		s.intercept(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			r.Header.Del("Accept-Encoding")
			rec := httptest.NewRecorder()
			next.ServeHTTP(rec, r)
			body := rec.Body.Bytes()
			if strings.HasPrefix(r.URL.Path, path) {
				body = bytes.Replace(body, []byte(old), []byte(replacement), 1)
			}
			w.WriteHeader(rec.Code)
			_, _ = w.Write(body)
		})
	}
	refused := func(name string, args ...string) {
		t.Helper()
		if r := admin(t, append(args, "--server", s.url)...); r.code != ExitVerify {
			t.Errorf("%s: %+v", name, r)
		}
	}
	altered("/v1/ledger/tile/entries/001", "critical", "harmless")
	refused("an altered entry", "audit", "verify", "--key", "log.pub")
	altered("/v1/ledger/checkpoint", "\n600\n", "\n599\n")
	refused("a shorter ledger", "audit", "verify", "--key", "log.pub")
	altered("/v1/ledger/tile/0/000", "", "x")
	refused("a longer tile", "audit", "verify", "--key", "log.pub")
	altered("/v1/ledger/entries", "critical", "harmless")
	refused("an altered answer", "audit", "list")
	altered("/v1/ledger/entries", `"index":0`, `"index":150`)
	refused("entries out of order", "audit", "list", "--node", "edge-0")
	altered("/v1/ledger/tile/entries/000", "edge-7", "edge-8")
	refused("an altered entry to prove", "audit", "prove", "7")
}

// A server that is busy is asked again; one that refuses says what is missing.
func TestServersThatRefuse(t *testing.T) {
	s := newServed(t, 10, nil)
	var asked atomic.Int32
	s.intercept(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if strings.HasSuffix(r.URL.Path, "/entries") && asked.Add(1) < 3 {
			http.Error(w, `{"message":"too many"}`, http.StatusTooManyRequests)
			return
		}
		next.ServeHTTP(w, r)
	})
	if rows := lines(ok(t, "audit", "--server", s.url)); len(rows) != 11 || asked.Load() != 3 {
		t.Errorf("%d rows, asked %d times", len(rows), asked.Load())
	}
	s.intercept(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if r.Header.Get("Authorization") != "Bearer secret" && !strings.HasSuffix(r.URL.Path, "/checkpoint") {
			http.Error(w, `{"message":"the scope audit is missing"}`, http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
	if r := admin(t, "audit", "--server", s.url); r.code != ExitUsage || !strings.Contains(r.stderr, "--token-file") || !strings.Contains(r.stderr, "the scope audit is missing") {
		t.Errorf("%+v", r)
	}
	write(t, "token", "secret\n")
	ok(t, "audit", "--server", s.url, "--token-file", "token")
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, s.url+r.URL.Path, http.StatusFound)
	}))
	defer elsewhere.Close()
	if r := admin(t, "audit", "--server", elsewhere.URL, "--token-file", "token"); r.code != ExitInternal || !strings.Contains(r.stderr, "redirects") {
		t.Errorf("%+v", r)
	}
	for args, want := range map[string]string{
		"--server " + s.url + " --tls-ca nowhere":     "nowhere",
		"--server " + s.url + " --tls-ca token":       "no certificate",
		"--server " + s.url + " --token-file nowhere": "nowhere",
		"--data x --token-file token":                 "go with --server",
		"--server ftp://x":                            "not the URL",
	} {
		if r := admin(t, append([]string{"audit"}, strings.Fields(args)...)...); r.code != ExitUsage || !strings.Contains(r.stderr, want) {
			t.Errorf("%s: %+v", args, r)
		}
	}
}

// Cosignatures are found over HTTP, too, although only receipts show them.
func TestWitnessedOverHTTP(t *testing.T) {
	private, public, err := witness.GenerateKey("witness.example/w1")
	if err != nil {
		t.Fatal(err)
	}
	w, err := witness.ParseSigner(private)
	if err != nil {
		t.Fatal(err)
	}
	c := &cosigner{witness: w}
	s := newServed(t, 0, func(o *ledger.Options) {
		if c.log, err = ledger.VerifierOf(o.Signers[0]); err != nil {
			t.Fatal(err)
		}
		o.Cosign = c
	})
	ledgertest.Append(t, s.log, 300)
	if _, err := s.log.Append(t.Context(), ledgertest.Denial(0), ledger.Witnessed); err != nil {
		t.Fatal(err)
	}
	var v verification
	text := ok(t, "audit", "verify", "--server", s.url, "--key", "log.pub", "--witness", public, "--format", "json")
	if err := json.Unmarshal([]byte(text), &v); err != nil || v.Level != ledger.AssuredWitnessed || v.Witnessed != 301 {
		t.Errorf("%v: %s", err, text)
	}
	ok(t, "audit", "prove", "3", "--server", s.url, "-o", "r")
	ok(t, "audit", "check-receipt", "r", "--key", "log.pub", "--witness", public)
}
