package activation

import (
	"os"
	"testing"

	"github.com/westworld-charter/charter/internal/release"
	"github.com/westworld-charter/charter/internal/signing"
	"github.com/westworld-charter/charter/internal/signing/online"
	"github.com/westworld-charter/charter/internal/signing/signingtest"
	"github.com/westworld-charter/charter/tests/releases"
)

const ci = "ci@example.org"

// identified trusts a key for what is in force, and an identity for what comes.
func identified(t *testing.T, root []byte) *signing.Trust {
	t.Helper()
	trust, err := signing.ParseTrust("trust.yaml", []byte(`
apiVersion: charter/v1
kind: Trust
channel: production
trusted_root: root.json
signers:
  - {name: release, key: release.pub}
  - {name: ci, identity: {issuer: "`+signingtest.Issuer+`", subject: `+ci+`}}
require: [`+release.PolicyType+`]
insecure_ignore_sct: true
`), func(name string) ([]byte, error) {
		switch name {
		case "root.json":
			return root, nil
		case "release.pub":
			return releases.TrustedKey(t).Public(), nil
		default:
			return nil, os.ErrNotExist
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return trust
}

// What can be wrong with an identity, its certificate, its entry in the log or its
// timestamp is refused with the code of it, and a release of the right one is not.
func TestRefusesKeyless(t *testing.T) {
	next := releases.Release{Version: 3, Sequence: 5, Key: releases.StrangeKey(t)}
	made := next.Make(t)
	payload := releases.Payload(t, made.Digest(), release.PolicyType, next.Statement(t))
	w := newWorld(t)
	n := w.node
	n.start(t)
	w.publish(t, releases.Release{Version: 2, Sequence: 3})
	n.poll(t)
	source := newFake(made, nil)
	n.o.Source = source
	offer := func(statement []byte) {
		m := *made
		m.Statements = [][]byte{statement}
		source.offer(&m, nil)
	}
	seen := map[string]bool{}
	for _, f := range signingtest.Failures(t, ci, payload) {
		n.trust.Store(identified(t, f.Root))
		offer(f.Bundle)
		n.take()
		before := n.Status().LastError
		for range 2 {
			if code := n.poll(t); code != string(f.Code) {
				t.Errorf("%s: code %q, want %q", f.Name, code, f.Code)
			}
		}
		n.serves(t, 2)
		n.problem(t, string(f.Code))
		if !seen[string(f.Code)] && (before == nil || before.Code != string(f.Code)) { // what comes back within an hour is counted
			n.wantEvents(t, "refused "+string(f.Code))
		}
		seen[string(f.Code)] = true
	}
	for _, code := range []signing.Code{
		signing.CodeUntrustedIdentity, signing.CodeUntrustedIssuer, signing.CodeNoLogEntry, signing.CodeInvalidLogEntry,
		signing.CodeNoTimestamp, signing.CodeUntrustedTimestamp, signing.CodeCertificateExpired,
	} {
		if !seen[string(code)] {
			t.Errorf("nothing was refused with %s", code)
		}
	}

	store := signingtest.New(t)
	signer, err := online.NewKeylessSigner(store.Services(ci))
	if err != nil {
		t.Fatal(err)
	}
	good, err := signer.Sign(t.Context(), payload)
	if err != nil {
		t.Fatal(err)
	}
	n.trust.Store(identified(t, store.Root()))
	offer(good)
	if code := n.poll(t); code != "" {
		t.Errorf("a good one: %q", code)
	}
	n.serves(t, 3)
	n.problem(t, "")
	if signers := n.current().Signers; len(signers) != 1 || signers[0] != "ci" {
		t.Errorf("signed by %q", signers)
	}
}

// Two of three must sign the same statement: two signers of two different sequences are
// not two signers of one.
func TestThreshold(t *testing.T) {
	a, b := releases.TrustedKey(t), releases.StrangeKey(t)
	w := newWorld(t)
	n := w.node
	n.trust.Store(releases.Trust(t, releases.Channel, "threshold: 2\n", a, b))
	n.start(t)
	made := releases.Release{Version: 1, Sequence: 1, Key: a}.Make(t)
	byA := made.Statements
	for _, tc := range []struct {
		name, code string
		statements [][]byte
	}{
		{"one signer", "too_few_signers", byA},
		{"the other signs another sequence", "too_few_signers", append(releases.Release{Version: 1, Sequence: 3, Key: b}.Sign(t, made.Digest()), byA...)},
		{"one signs twice", "too_few_signers", append(releases.Release{Version: 1, Sequence: 1, Key: a}.Sign(t, made.Digest()), byA...)},
		{"both sign it, among much junk", "", append(append(releases.Release{Version: 1, Sequence: 1, Key: b}.Sign(t, made.Digest()), releases.Junk(50)...), byA...)},
		{"much too much junk", "too_many_statements", append(releases.Junk(signing.MaxStatements), byA...)},
	} {
		m := *made
		m.Statements = tc.statements
		n.o.Source = newFake(&m, nil)
		if code := n.poll(t); code != tc.code {
			t.Errorf("%s: %q, want %q", tc.name, code, tc.code)
		}
	}
	n.serves(t, 1)
}
