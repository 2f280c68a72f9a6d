package ledgerapi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/westworld-charter/charter/internal/audit"
	"github.com/westworld-charter/charter/internal/decision"
	decisionapi "github.com/westworld-charter/charter/internal/httpapi/decision"
	"github.com/westworld-charter/charter/internal/keyring"
	"github.com/westworld-charter/charter/internal/ledger"
	"github.com/westworld-charter/charter/internal/ledger/ledgertest"
	"github.com/westworld-charter/charter/internal/wire"
	"github.com/westworld-charter/charter/internal/witness"
)

// site is a ledger behind the API, mounted as the server does.
type site struct {
	t      testing.TB
	key    ledger.Signer
	keys   ledger.Keys
	log    *ledger.Log
	store  *ledgertest.Memory
	routes []wire.Route
	url    string
	ring   *keyring.Ring
	dir    string // of the files of keys
}

// The keys of these tests: the one that signs and the one that replaces it.
const (
	firstSecret  = "PRIVATE+KEY+ledger.example/test+27d3e9a8+Abg4NwutWRTtm9EwkaV4wsfcL8BD8IGegDUQ0i3H4PZh"
	secondSecret = "PRIVATE+KEY+ledger.example/test+7ae4f99a+ATyWznWAcFQn0868Ykb3fSUJbUdEprWPQvVxW7CmuzAr"
)

// newRing makes the files of a key.
func newRing(t testing.TB) (*keyring.Ring, string) {
	t.Helper()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "keys"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, keyring.CurrentFile), []byte(firstSecret), 0o600); err != nil {
		t.Fatal(err)
	}
	ring, err := keyring.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	return ring, dir
}

// ringOf is the keys of a site.
type ringOf struct{ *site }

func (r ringOf) Public() []byte { return r.ring.Public() }
func (r ringOf) Rotate(ctx context.Context, principal string) (keyring.Change, error) {
	return r.ring.Rotate(ctx, r.log, principal)
}

func (r ringOf) Retire(ctx context.Context, principal string) (keyring.Change, error) {
	return r.ring.Retire(ctx, r.log, principal)
}

const (
	auditor  = "Bearer auditor"
	operator = "Bearer operator"
)

func newSite(t testing.TB, entries int) *site {
	t.Helper()
	s := &site{t: t, store: ledgertest.NewMemory()}
	s.ring, s.dir = newRing(t)
	signers, err := s.ring.Signers(t.Context(), s.store)
	if err != nil {
		t.Fatal(err)
	}
	s.key = signers[0]
	s.keys = ledgertest.Keys(t, s.key)
	s.log = ledgertest.NewLog(t, s.store, s.key, nil)
	if _, err := s.ring.Finish(t.Context(), s.log); err != nil {
		t.Fatal(err)
	}
	ledgertest.Append(t, s.log, entries)
	skey, _, err := witness.GenerateKey("w.example/1")
	if err != nil {
		t.Fatal(err)
	}
	signer, err := witness.ParseSigner(skey)
	if err != nil {
		t.Fatal(err)
	}
	w, err := witness.Open(witness.Options{Dir: t.TempDir(), Signer: signer, Logs: s.keys.Log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.Close() })
	if s.routes, err = Routes(Options{Reader: s.log.Reader(), Keys: ringOf{s}, Witness: w}); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(mount(t, s.routes))
	t.Cleanup(server.Close)
	s.url = server.URL
	return s
}

// nothing decides and reports nothing.
type nothing struct{}

func (nothing) Decide(context.Context, decision.Input) (decision.Decision, error) {
	return decision.Decision{}, errors.New("nothing is decided here")
}
func (nothing) Status() decisionapi.Status { return decisionapi.Status{} }

// nobody records refusals.
type nobody struct{}

func (nobody) Refused(context.Context, ...audit.Refusal) {}

// mount serves routes as charter-server does.
func mount(t testing.TB, routes []wire.Route) http.Handler {
	t.Helper()
	access := decisionapi.Access{Routes: routes, Authenticate: func(r *http.Request) (*decisionapi.Identity, error) {
		switch r.Header.Get("Authorization") {
		case auditor:
			return &decisionapi.Identity{Kind: decisionapi.KindToken, Name: "auditor", Scopes: []string{"audit"}}, nil
		case operator:
			return &decisionapi.Identity{Kind: decisionapi.KindToken, Name: "ana", Scopes: []string{wire.ScopeAdmin}}, nil
		case "":
			return nil, nil
		default:
			return &decisionapi.Identity{Kind: decisionapi.KindToken, Name: "node", Scopes: []string{wire.ScopeCheck}}, nil
		}
	}}
	h, err := decisionapi.New(decisionapi.Options{Decider: nothing{}, Reporter: nothing{}, Access: access, Auditor: nobody{}})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// answer is an answer that was read in full.
type answer struct {
	*http.Response

	body []byte
}

func (s *site) do(method, path, authorization, body string, header ...string) answer {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), method, s.url+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	if authorization != "" {
		r.Header.Set("Authorization", authorization)
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	res, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close() //nolint:errcheck // was read
	read, err := io.ReadAll(res.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return answer{res, read}
}

// get asks as an auditor.
func (s *site) get(path string, header ...string) answer {
	s.t.Helper()
	return s.do(http.MethodGet, path, auditor, "", header...)
}

// want fails the test unless the answer has a status.
func (a answer) want(t testing.TB, status int) answer {
	t.Helper()
	if a.StatusCode != status {
		t.Fatalf("%s: %s: %s", a.Request.URL, a.Status, a.body)
	}
	return a
}

func (a answer) String() string { return fmt.Sprintf("%s %s", a.Status, a.body) }
