package signing_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/westworld-charter/charter/internal/release"
	"github.com/westworld-charter/charter/internal/signing"
	"github.com/westworld-charter/charter/internal/signing/online"
	"github.com/westworld-charter/charter/internal/signing/signingtest"
)

const ci = "ci@example.org"

// keyless is a policy that trusts one identity.
const keyless = header + `
trusted_root: root.json
signers: [{name: ci, identity: {issuer: https://issuer.example.org, subject_regexp: "ci@example\\.(org|net)"}}]
require: [https://westworld-charter.github.io/charter/release/v1]
`

const ignoreSCT = "insecure_ignore_sct: true\n"

func signKeyless(t *testing.T, s online.Services, payload []byte) []byte {
	t.Helper()
	signer, err := online.NewKeylessSigner(s)
	if err != nil {
		t.Fatal(err)
	}
	made, err := signer.Sign(t.Context(), payload)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func TestKeyless(t *testing.T) {
	store := signingtest.New(t)
	payload := statement(t, digest, release.PolicyType, policy(7))
	good := signKeyless(t, store.Services(ci), payload)
	for _, test := range []struct {
		name   string
		bundle []byte
		trust  string
		root   []byte
		code   signing.Code
	}{
		{"as it should be", good, keyless + ignoreSCT, store.Root(), ""},
		{"another identity that the expression admits", signKeyless(t, store.Services("ci@example.net"), payload), keyless + ignoreSCT, store.Root(), ""},
		{"two timestamps wanted", good, keyless + ignoreSCT + "timestamps: {threshold: 2}\n", store.Root(), signing.CodeNoTimestamp},
		{"with SCT", good, keyless, store.RootWithCT(store), ""},
		{"SCT of a log nobody knows", good, keyless, store.RootWithCT(signingtest.New(t)), signing.CodeNoSCT},
		{
			"about another manifest",
			signKeyless(t, store.Services(ci), statement(t, release.Digest(nil), release.PolicyType, policy(7))),
			keyless + ignoreSCT, store.Root(), signing.CodeSubjectMismatch,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			v, err := trust(t, test.trust, files{"root.json": test.root}).Verify(t.Context(), digest, [][]byte{test.bundle})
			if signing.CodeOf(err) != test.code || (err == nil) != (test.code == "") {
				t.Fatalf("got %v, want code %q", err, test.code)
			}
			if err == nil && (len(v.Statements) != 1 || strings.Join(v.Statements[0].Signers, ",") != "ci") {
				t.Errorf("Verify returned %+v", v)
			}
		})
	}
}

// Genuine but for one thing, each is refused with the code of that thing.
func TestKeylessFailures(t *testing.T) {
	payload := statement(t, digest, release.PolicyType, policy(7))
	for _, f := range signingtest.Failures(t, ci, payload) {
		t.Run(f.Name, func(t *testing.T) {
			parsed := trust(t, keyless+ignoreSCT, files{"root.json": f.Root})
			v, err := parsed.Verify(t.Context(), digest, [][]byte{f.Bundle})
			if signing.CodeOf(err) != f.Code || len(v.Statements) != 0 || len(v.Ignored) != 1 {
				t.Errorf("got %v, want %s", err, f.Code)
			}
		})
	}
}

// A key is as trusted without log and timestamp, unless the policy wants them.
func TestKeyWithServices(t *testing.T) {
	store := signingtest.New(t)
	key, public := newKey(t)
	services := online.Services{TrustedRoot: store.Root(), RekorURL: store.RekorURL(), TSAURL: store.TSAURL()}
	signer, err := online.NewKeySigner(key, services)
	if err != nil {
		t.Fatal(err)
	}
	payload := statement(t, digest, release.PolicyType, policy(7))
	logged, err := signer.Sign(t.Context(), payload)
	if err != nil {
		t.Fatal(err)
	}
	if u, err := signing.Describe(logged); err != nil || u.LogEntries != 1 || u.Timestamps != 1 || u.KeyHint != key.Hint() {
		t.Errorf("Describe returned %+v, %v", u, err)
	}
	base := header + "trusted_root: root.json\nsigners: [{name: a, key: a.pub}]\nrequire: [" + release.PolicyType + "]\n"
	for _, test := range []struct {
		name, trust string
		bundle      []byte
		code        signing.Code
	}{
		{"nothing wanted, nothing there", base, signWith(t, key, payload), ""},
		{"nothing wanted, everything there", base, logged, ""},
		{"all wanted, all there", base + "log: {threshold: 1}\ntimestamps: {threshold: 1}\n", logged, ""},
		{"a log wanted, nothing there", base + "log: {threshold: 1}\n", signWith(t, key, payload), signing.CodeNoLogEntry},
		{"a timestamp wanted, nothing there", base + "timestamps: {threshold: 1}\n", signWith(t, key, payload), signing.CodeNoTimestamp},
		{"an identity where keys are trusted", base, signKeyless(t, store.Services(ci), payload), signing.CodeUntrustedIdentity},
	} {
		t.Run(test.name, func(t *testing.T) {
			parsed := trust(t, test.trust, files{"root.json": store.Root(), "a.pub": public})
			if _, err := parsed.Verify(t.Context(), digest, [][]byte{test.bundle}); signing.CodeOf(err) != test.code || (err == nil) != (test.code == "") {
				t.Errorf("got %v, want %q", err, test.code)
			}
		})
	}
}

// A service that vouches for nothing is noticed by who signs, not by every node.
func TestSignerVerifiesServices(t *testing.T) {
	store, foreign := signingtest.New(t), signingtest.New(t)
	payload := statement(t, digest, release.PolicyType, policy(7))
	for name, lie := range map[string]func(*online.Services){
		"log":       func(s *online.Services) { s.RekorURL = foreign.RekorURL() },
		"timestamp": func(s *online.Services) { s.TSAURL = foreign.TSAURL() },
		"authority": func(s *online.Services) { s.FulcioURL = foreign.FulcioURL() },
		"token": func(s *online.Services) {
			s.IDToken = func(context.Context) (string, error) { return "", errors.New("no") }
		},
		"root": func(s *online.Services) { s.FulcioURL = store.RekorURL() },
	} {
		t.Run(name, func(t *testing.T) {
			services := store.Services(ci)
			lie(&services)
			signer, err := online.NewKeylessSigner(services)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := signer.Sign(t.Context(), payload); err == nil {
				t.Error("Sign returned what nobody will accept")
			}
		})
	}
}

// Of several identities only the one that signed counts; one that fits two signers
// counts for the first.
func TestKeylessSigners(t *testing.T) {
	store := signingtest.New(t)
	signed := signKeyless(t, store.Services(ci), statement(t, digest, release.PolicyType, policy(7)))
	const head = header + ignoreSCT + "trusted_root: root.json\nsigners:\n" +
		"  - {name: ci, identity: {issuer: https://issuer.example.org, subject: ci@example.org}}\n"
	const (
		dao     = "  - {name: dao, identity: {issuer: https://issuer.example.org, subject: dao@example.org}}\n"
		anybody = "  - {name: all, identity: {issuer: https://issuer.example.org, subject_regexp: '.*@example.org'}}\n"
		by      = "require: [{type: " + release.PolicyType + ", signers: [%]}]\n"
	)
	for _, test := range []struct {
		name, trust string
		code        signing.Code
		signers     string
	}{
		{"the one that signed", head + dao + strings.Replace(by, "%", "ci, dao", 1), "", "ci"},
		{"another one", head + dao + strings.Replace(by, "%", "dao", 1), signing.CodeTooFewSigners, ""},
		{"both fit", head + anybody + strings.Replace(by, "%", "ci, all", 1), "", "ci"},
		{"both fit, two wanted", head + anybody + "threshold: 2\n" + strings.Replace(by, "%", "ci, all", 1), signing.CodeTooFewSigners, ""},
		{"both fit, the second may", head + anybody + strings.Replace(by, "%", "all", 1), "", "all"},
	} {
		t.Run(test.name, func(t *testing.T) {
			v, err := trust(t, test.trust, files{"root.json": store.Root()}).Verify(t.Context(), digest, [][]byte{signed})
			if signing.CodeOf(err) != test.code || (err == nil) != (test.code == "") {
				t.Fatalf("got %v, want %q", err, test.code)
			}
			if err == nil && strings.Join(v.Statements[0].Signers, ",") != test.signers {
				t.Errorf("signed by %v, want %s", v.Statements[0].Signers, test.signers)
			}
		})
	}
}

// A service that does not answer holds nobody up who has given up.
func TestSigningEndsWithItsContext(t *testing.T) {
	store := signingtest.New(t)
	asked := make(chan struct{})
	silent := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // a server sees that a client has gone once it has read all
		close(asked)
		<-r.Context().Done()
	}))
	defer silent.Close()
	services := store.Services(ci)
	services.FulcioURL = silent.URL
	signer, err := online.NewKeylessSigner(services)
	if err != nil {
		t.Fatal(err)
	}
	ctx, giveUp := context.WithCancel(t.Context())
	go func() {
		<-asked
		giveUp()
	}()
	if _, err := signer.Sign(ctx, statement(t, digest, release.PolicyType, policy(7))); !errors.Is(err, context.Canceled) {
		t.Errorf("Sign returned %v, want that it was cancelled", err)
	}
}

// One policy serves many at once.
func TestVerifyConcurrently(t *testing.T) {
	store := signingtest.New(t)
	good := signKeyless(t, store.Services(ci), statement(t, digest, release.PolicyType, policy(7)))
	parsed := trust(t, keyless, files{"root.json": store.RootWithCT(store)})
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			if _, err := parsed.Verify(t.Context(), digest, [][]byte{good, []byte("junk")}); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
}

func TestSignersRefuse(t *testing.T) {
	store := signingtest.New(t)
	key, _ := newKey(t)
	for name, make := range map[string]func() (signing.Signer, error){
		"a key with a certificate": func() (signing.Signer, error) { return online.NewKeySigner(key, store.Services(ci)) },
		"no key":                   func() (signing.Signer, error) { return online.NewKeySigner(signing.Key{}, online.Services{}) },
		"keyless without services": func() (signing.Signer, error) {
			return online.NewKeylessSigner(online.Services{IDToken: store.Services(ci).IDToken})
		},
		"keyless without a token": func() (signing.Signer, error) {
			return online.NewKeylessSigner(online.Services{FulcioURL: store.FulcioURL()})
		},
		"a root that is none": func() (signing.Signer, error) {
			return online.NewKeySigner(key, online.Services{TrustedRoot: []byte("{}")})
		},
	} {
		if _, err := make(); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// FuzzVerify gives the verifier what a hostile registry could: it must refuse in its
// own words and never fall over.
func FuzzVerify(f *testing.F) {
	key, public := newKey(f)
	store := signingtest.New(f)
	s, err := release.NewStatement(digest, release.PolicyType, policy(7))
	if err != nil {
		f.Fatal(err)
	}
	payload, err := s.Encode()
	if err != nil {
		f.Fatal(err)
	}
	for _, make := range []func() (signing.Signer, error){
		func() (signing.Signer, error) { return signing.NewKeySigner(key) },
		func() (signing.Signer, error) { return online.NewKeylessSigner(store.Services(ci)) },
	} {
		signer, err := make()
		if err != nil {
			f.Fatal(err)
		}
		made, err := signer.Sign(f.Context(), payload)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(made)
	}
	f.Add([]byte(`{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json","verificationMaterial":{"publicKey":{}},"dsseEnvelope":{}}`))
	both := keyless[:strings.Index(keyless, "signers:")] + "signers:\n  - {name: ci, identity: {issuer: https://issuer.example.org, subject: ci@example.org}}\n" +
		"  - {name: key, key: a.pub}\nrequire: [" + release.PolicyType + "]\n" + ignoreSCT
	parsed, err := signing.ParseTrust("trust.yaml", []byte(both), files{"root.json": store.Root(), "a.pub": public}.read)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		v, err := parsed.Verify(t.Context(), digest, [][]byte{data})
		if err != nil {
			if signing.CodeOf(err) == "" {
				t.Errorf("an error without a code: %v", err)
			}
			return
		}
		// Spaces and the order of members may differ; what was signed may not.
		if string(v.Statements[0].Payload) != string(payload) {
			t.Errorf("accepted %s, which nobody signed", v.Statements[0].Payload)
		}
	})
}
