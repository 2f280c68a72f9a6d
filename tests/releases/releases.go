// Package releases makes signed releases for tests and publishes them in a registry of
// the test, which can be told to lie.
//
// [Bundle] compiles a charter whose decisions tell its version, [Release.Make] signs it
// with a [Key], and [Registry.Publish] publishes it in a [NewRegistry]. [Cases] are what
// nodes must refuse.
package releases

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/westworld-charter/charter/internal/bundle"
	"github.com/westworld-charter/charter/internal/charter"
	"github.com/westworld-charter/charter/internal/compile"
	"github.com/westworld-charter/charter/internal/decision"
	"github.com/westworld-charter/charter/internal/release"
	"github.com/westworld-charter/charter/internal/signing"
	"github.com/westworld-charter/charter/tests/internal/file"
)

// Channel is that of releases and trust policies unless a test says otherwise.
const Channel = "production"

const text = `apiVersion: charter/v1
kind: Charter
metadata: {name: village, version: %d.0.0}
access_levels: [public, operator]
roles: [{name: node_operator, reads: [public, operator], collects: [network]}]
metrics:
  network:
    - {id: net.latency, match: [latency_p50], access: public}
    - {id: net.only, match: [only_in_%d], access: public}
forbidden:
  - {id: privacy.location, match: ["*gps*"], severity: critical, reason: "location can endanger people"}
`

// bundles are those of the first versions.
var bundles = sync.OnceValues(compiled)

func compiled() ([8]*bundle.Bundle, error) {
	var all [8]*bundle.Bundle
	for version := range all {
		b, err := compiledOne(version)
		if err != nil {
			return all, err
		}
		all[version] = b
	}
	return all, nil
}

func compiledOne(version int) (*bundle.Bundle, error) {
	c, findings := charter.Parse("charter.yaml", fmt.Appendf(nil, text, version, version))
	if c == nil {
		return nil, fmt.Errorf("%v", findings)
	}
	return compile.Build(c)
}

// Bundle returns the bundle of a charter that allows the metric only_in_VERSION,
// latency_p50 and no other. Those of the versions 0 to 7 are made once.
func Bundle(t testing.TB, version int) *bundle.Bundle {
	t.Helper()
	all, err := bundles()
	if err == nil && version < len(all) {
		return all[version]
	}
	b, err2 := compiledOne(version)
	if err := errors.Join(err, err2); err != nil {
		t.Fatal(err)
	}
	return b
}

// Compile returns the bundle of the charter at a path.
func Compile(t testing.TB, path string) *bundle.Bundle {
	t.Helper()
	c, findings := charter.Load(path)
	if c == nil || findings.HasErrors() {
		t.Fatal(findings)
	}
	b, err := compile.Build(c)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Archive returns the archive of a bundle.
func Archive(t testing.TB, b *bundle.Bundle) []byte {
	t.Helper()
	var buf bytes.Buffer
	if err := b.WriteTar(&buf); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// Edited returns the archive of a bundle with other files.
func Edited(t testing.TB, b *bundle.Bundle, edit func(files map[string][]byte)) []byte {
	t.Helper()
	files := map[string][]byte{}
	for _, path := range b.Paths() {
		files[path], _ = b.File(path)
	}
	edit(files)
	edited, err := bundle.New(files)
	if err != nil {
		t.Fatal(err)
	}
	return Archive(t, edited)
}

// Question is one that [Bundle] of that version alone answers with yes.
func Question(version int) decision.Input {
	return decision.Input{
		Metric: fmt.Sprintf("only_in_%d", version), Node: "edge-1", Role: "node_operator", Operation: decision.Collect, Time: "2026-06-01T00:00:00Z",
	}
}

// Key signs, and can be trusted.
type Key struct {
	signing.Key

	signer signing.Signer
}

// keys are made once: their encryption is slow on purpose.
var keys = [2]func() (*Key, error){sync.OnceValues(newKey), sync.OnceValues(newKey)}

// TrustedKey returns a key, StrangeKey another one; both are the same in all tests of
// a process.
func TrustedKey(t testing.TB) *Key {
	t.Helper()
	return mustKey(t, 0)
}

// StrangeKey returns a key that is not [TrustedKey].
func StrangeKey(t testing.TB) *Key {
	t.Helper()
	return mustKey(t, 1)
}

func mustKey(t testing.TB, i int) *Key {
	t.Helper()
	key, err := keys[i]()
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func newKey() (*Key, error) {
	password := []byte("test")
	private, _, err := signing.GenerateKey(password)
	if err != nil {
		return nil, err
	}
	key, err := signing.LoadKey(private, password)
	if err != nil {
		return nil, err
	}
	signer, err := signing.NewKeySigner(key)
	return &Key{key, signer}, err
}

// Trust returns a policy for a channel that trusts the keys, one of which suffices.
// More is added to its text.
func Trust(t testing.TB, channel, more string, keys ...*Key) *signing.Trust {
	t.Helper()
	policy := "apiVersion: charter/v1\nkind: Trust\nchannel: " + channel + "\nsigners:\n"
	for i := range keys {
		policy += fmt.Sprintf("  - {name: signer%d, key: %d.pub}\n", i, i)
	}
	trust, err := signing.ParseTrust("trust.yaml", []byte(policy+more), func(name string) ([]byte, error) {
		for i, key := range keys {
			if name == fmt.Sprintf("%d.pub", i) {
				return key.Public(), nil
			}
		}
		return nil, os.ErrNotExist
	})
	if err != nil {
		t.Fatal(err)
	}
	return trust
}

// TrustFile writes a policy for [Channel] that trusts the key, beside its public half, and
// returns the path. More is added to its text.
func (k *Key) TrustFile(t testing.TB, dir, more string) string {
	t.Helper()
	file.Write(t, filepath.Join(dir, "release.pub"), string(k.Public()))
	return file.Write(t, filepath.Join(dir, "trust.yaml"), "apiVersion: charter/v1\nkind: Trust\nchannel: "+Channel+"\nsigners:\n  - {name: release, key: release.pub}\n"+more)
}

// Release is what is signed and published. Zero fields are made of the others.
type Release struct {
	Archive  []byte         // that of Bundle when nil
	Bundle   *bundle.Bundle // that of Version when nil
	Version  int
	Sequence int64
	Channel  string    // [Channel]
	Expires  time.Time // the year 2099
	Key      *Key
	// Edit changes the release statement before it is signed.
	Edit func(p *release.Policy)
	// Types are the predicate types that are stated; cosign's and ours when nil.
	Types []string
}

// Made is a signed release.
type Made struct {
	Revision   string
	Manifest   release.Manifest
	Archive    []byte
	Statements [][]byte
}

// Digest is the release digest.
func (m *Made) Digest() string { return m.Manifest.Digest() }

// Make signs a release.
func (r Release) Make(t testing.TB) *Made {
	t.Helper()
	b := r.bundle(t)
	if r.Archive == nil {
		r.Archive = Archive(t, b)
	}
	m := &Made{
		Revision: b.Manifest().Revision, Archive: r.Archive,
		Manifest: release.NewManifest(release.Digest(r.Archive), int64(len(r.Archive)), b.Manifest().Revision),
	}
	m.Statements = r.Sign(t, m.Digest())
	return m
}

func (r Release) bundle(t testing.TB) *bundle.Bundle {
	t.Helper()
	if r.Bundle != nil {
		return r.Bundle
	}
	return Bundle(t, r.Version)
}

// Statement returns the predicate of the release statement.
func (r Release) Statement(t testing.TB) release.Policy {
	t.Helper()
	b := r.bundle(t)
	source, _ := b.File(bundle.CharterFile)
	c, _ := charter.Parse(bundle.CharterFile, source)
	p := release.Policy{
		Channel: r.Channel, Sequence: r.Sequence, Expires: r.Expires, Revision: b.Manifest().Revision, CharterDigest: c.Digest(),
	}
	if p.Channel == "" {
		p.Channel = Channel
	}
	if p.Expires.IsZero() {
		p.Expires = time.Date(2099, 1, 1, 0, 0, 0, 0, time.UTC)
	}
	if r.Edit != nil {
		r.Edit(&p)
	}
	return p
}

// Sign makes the statements of a release about a manifest.
func (r Release) Sign(t testing.TB, digest string) [][]byte {
	t.Helper()
	if r.Types == nil {
		r.Types = []string{release.SignatureType, release.PolicyType}
	}
	var statements [][]byte
	for _, predicateType := range r.Types {
		var predicate any = struct{}{}
		if predicateType == release.PolicyType {
			predicate = r.Statement(t)
		}
		statements = append(statements, r.Key.State(t, digest, predicateType, predicate))
	}
	return statements
}

// State signs one statement.
func (k *Key) State(t testing.TB, digest, predicateType string, predicate any) []byte {
	t.Helper()
	signed, err := k.signer.Sign(context.Background(), Payload(t, digest, predicateType, predicate))
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

// Payload returns a statement as it is signed.
func Payload(t testing.TB, digest, predicateType string, predicate any) []byte {
	t.Helper()
	s, err := release.NewStatement(digest, predicateType, predicate)
	if err != nil {
		t.Fatal(err)
	}
	payload, err := s.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return payload
}
