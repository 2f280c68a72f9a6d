package releases

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/westworld-charter/charter/internal/distribution"
	"github.com/westworld-charter/charter/internal/release"
)

// Scene is where a [Case] happens: a node has [Scene.Active] in force, which the
// channel's tag named last, and had [Scene.Old] before.
type Scene struct {
	Registry *Registry
	Key      *Key // is trusted
	Stranger *Key // is not

	Old, Active *Made // of versions 1 and 2, sequences 1 and 3
	// Ref is what nodes and OPA poll; a case may pin it.
	Ref distribution.Ref
}

// NewScene publishes Old and then Active.
func NewScene(t testing.TB) *Scene {
	t.Helper()
	s := &Scene{Registry: NewRegistry(t), Key: TrustedKey(t), Stranger: StrangeKey(t)}
	s.Ref = s.Registry.Ref(t, Channel)
	s.Old = s.publish(t, Release{Version: 1, Sequence: 1})
	return s
}

// PublishActive publishes Active, once Old is in force everywhere.
func (s *Scene) PublishActive(t testing.TB) {
	t.Helper()
	s.Active = s.publish(t, Release{Version: 2, Sequence: 3})
}

// Heal ends every lie and publishes a release that is good: version 4, sequence 7.
func (s *Scene) Heal(t testing.TB) *Made {
	t.Helper()
	s.Registry.Lie(nil)
	return s.publish(t, Release{Version: 4, Sequence: 7})
}

func (s *Scene) publish(t testing.TB, r Release) *Made {
	t.Helper()
	if r.Key == nil {
		r.Key = s.Key
	}
	m := r.Make(t)
	s.Registry.Publish(t, Channel, m)
	return m
}

// What stock OPA does with a case when it polls the same reference without signature
// verification, as it does by default.
const (
	OPATakesIt   = "takes it"        // its decisions are those of what was offered
	OPARefuses   = "refuses it"      // it keeps what it has
	OPAStays     = "does not notice" // nothing changes for it
	OPADenies    = "takes it, and denies everything"
	OPALosesRule = "takes it, and nothing is forbidden any more"
)

// Case is something that a node must refuse.
type Case struct {
	Name string // as docs/activation.md says it
	Code string // with which a node refuses it
	OPA  string // what stock OPA does with it
	// Break makes it happen.
	Break func(t testing.TB, s *Scene)
}

// OfferedVersion is that of what a [Case] offers unless it offers Old.
const OfferedVersion = 3

// Offered is the version that the case offers.
func (c Case) Offered() int {
	if c.Code == "older_sequence" || c.Code == "manifest_digest_mismatch" {
		return 1
	}
	return OfferedVersion
}

// offer returns a case in which a release of version 3 and sequence 5 is offered.
func offer(name, code, opa string, change func(t testing.TB, s *Scene, r *Release)) Case {
	return Case{name, code, opa, func(t testing.TB, s *Scene) {
		r := Release{Version: OfferedVersion, Sequence: 5, Key: s.Key}
		change(t, s, &r)
		s.publish(t, r)
	}}
}

// attach returns a case in which the statements about the release are others.
func attach(name, code string, statements func(t testing.TB, s *Scene, m *Made) [][]byte) Case {
	return Case{name, code, OPATakesIt, func(t testing.TB, s *Scene) {
		m := Release{Version: OfferedVersion, Sequence: 5, Key: s.Key}.Make(t)
		m.Statements = statements(t, s, m)
		s.Registry.Publish(t, Channel, m)
	}}
}

// repack returns a case in which the files of the bundle are others, and it is signed.
func repack(name, code, opa string, edit func(files map[string]string)) Case {
	return offer(name, code, opa, func(t testing.TB, _ *Scene, r *Release) {
		files := unpack(t, Archive(t, Bundle(t, OfferedVersion)))
		edit(files)
		r.Archive = pack(t, files)
	})
}

// Cases returns all of them.
func Cases() []Case {
	return slices.Concat(lies(), statements(), predicates(), contents())
}

// lies are those of a registry.
func lies() []Case {
	return []Case{
		{"the tag is moved back to an older release", "older_sequence", OPATakesIt, func(t testing.TB, s *Scene) {
			s.Registry.Publish(t, Channel, s.Old)
		}},
		{"the registry sends another manifest for a pinned digest", "manifest_digest_mismatch", OPATakesIt, func(t testing.TB, s *Scene) {
			m := Release{Version: OfferedVersion, Sequence: 5, Key: s.Key}.Make(t)
			s.Registry.Publish(t, Channel, m)
			s.Ref = s.Ref.WithDigest(m.Digest())
			s.Registry.Lie(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
				if strings.HasSuffix(r.URL.Path, "/manifests/"+m.Digest()) {
					r.URL.Path = strings.Replace(r.URL.Path, m.Digest(), s.Old.Digest(), 1)
				}
				next.ServeHTTP(w, r)
			})
		}},
		{"a byte of the layer is flipped", "layer_digest_mismatch", OPARefuses, func(t testing.TB, s *Scene) {
			m := Release{Version: OfferedVersion, Sequence: 5, Key: s.Key}.Make(t)
			s.Registry.Publish(t, Channel, m)
			s.Registry.Lie(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
				rec := httptest.NewRecorder()
				next.ServeHTTP(rec, r)
				body := rec.Body.Bytes()
				if r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, m.Manifest.Layer.Digest) {
					body[len(body)/2] ^= 1
				}
				for name, values := range rec.Header() {
					w.Header()[name] = values
				}
				w.WriteHeader(rec.Code)
				_, _ = w.Write(body)
			})
		}},
		{"the statements of the release in force are withheld", "referrers_dropped", OPAStays, func(_ testing.TB, s *Scene) {
			s.Registry.Lie(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
				if strings.Contains(r.URL.Path, "/referrers/") {
					w.Header().Set("Content-Type", "application/vnd.oci.image.index.v1+json")
					_, _ = io.WriteString(w, `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}`)
					return
				}
				next.ServeHTTP(w, r)
			})
		}},
	}
}

// statements are cases of who signed, and what about.
func statements() []Case {
	return []Case{
		attach("nobody signed it", "unsigned", func(testing.TB, *Scene, *Made) [][]byte { return nil }),
		attach("a key signed it that is not trusted", "untrusted_key", func(t testing.TB, s *Scene, m *Made) [][]byte {
			return Release{Version: OfferedVersion, Sequence: 5, Key: s.Stranger}.Sign(t, m.Digest())
		}),
		attach("the statement was changed after it was signed", "invalid_signature", func(t testing.TB, _ *Scene, m *Made) [][]byte {
			var forged [][]byte
			for _, s := range m.Statements {
				forged = append(forged, forge(t, s))
			}
			return forged
		}),
		attach("the statements of another release are attached to it", "subject_mismatch", func(_ testing.TB, s *Scene, _ *Made) [][]byte {
			return s.Active.Statements
		}),
		attach("only its provenance is signed", "missing_statement", func(t testing.TB, s *Scene, m *Made) [][]byte {
			return [][]byte{s.Key.State(t, m.Digest(), release.ProvenanceType, map[string]any{"buildDefinition": map[string]any{}})}
		}),
		attach("it is signed, but there is no release statement", "missing_statement", func(_ testing.TB, _ *Scene, m *Made) [][]byte {
			return m.Statements[:1]
		}),
		attach("50 referrers hold junk, and nobody signed it", "malformed", func(testing.TB, *Scene, *Made) [][]byte { return Junk(50) }),
	}
}

// predicates are cases of what the release statement says.
func predicates() []Case {
	edit := func(name, code string, change func(p *release.Policy)) Case {
		return offer(name, code, OPATakesIt, func(_ testing.TB, _ *Scene, r *Release) { r.Edit = change })
	}
	return []Case{
		edit("its release statement has expired", "release_expired", func(p *release.Policy) { p.Expires = time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC) }),
		edit("it was released to another channel", "wrong_channel", func(p *release.Policy) { p.Channel = "staging" }),
		edit("its sequence is that of another release", "sequence_reused", func(p *release.Policy) { p.Sequence = 3 }),
		edit("its statement names another revision", "revision_mismatch", func(p *release.Policy) { p.Revision = "village-9.0.0+000000000000" }),
		edit("its statement names another charter", "charter_digest_mismatch", func(p *release.Policy) { p.CharterDigest = release.Digest(nil) }),
	}
}

// contents are cases of what is in a bundle that somebody trusted has signed.
func contents() []Case {
	return []Case{
		repack("a file was added to the bundle", "unexpected_file", OPATakesIt, func(files map[string]string) { files["note.txt"] = "x" }),
		repack("a module was added beside the charter", "bad_package", OPARefuses, func(files map[string]string) { files["evil.rego"] = "package evil\n\nallow := true\n" }),
		repack("the charter was removed from the bundle", "missing_file", OPATakesIt, func(files map[string]string) { delete(files, "charter.yaml") }),
		repack("the tables were removed from the bundle", "missing_file", OPADenies, func(files map[string]string) { delete(files, "data.json") }),
		repack("the tables were renamed", "unexpected_file", OPADenies, func(files map[string]string) {
			files["charter/tables.json"] = files["data.json"]
			delete(files, "data.json")
		}),
		repack("the module about what is forbidden was removed", "self_test_failed", OPALosesRule, func(files map[string]string) { delete(files, "charter/forbidden/forbidden.rego") }),
		repack("the module about the standing of nodes was removed", "self_test_failed", OPATakesIt, func(files map[string]string) { delete(files, "charter/standing/standing.rego") }),
		repack("the patterns of forbidden names were removed", "self_test_failed", OPALosesRule, func(files map[string]string) {
			files["charter/patterns/patterns.rego"] = strings.ReplaceAll(files["charter/patterns/patterns.rego"], "gps", "gone")
		}),
		repack("an OPA signature was added to the bundle", "jwt_bundle", OPARefuses, func(files map[string]string) { files[".signatures.json"] = `{"signatures":["x"]}` }),
	}
}

// Junk returns n statements that are none.
func Junk(n int) [][]byte {
	var list [][]byte
	for i := range n {
		list = append(list, fmt.Appendf(nil, `{"junk":%d}`, i))
	}
	return list
}

// forge changes what a Sigstore bundle says and leaves its signature.
func forge(t testing.TB, statement []byte) []byte {
	t.Helper()
	const field = `"payload":"`
	start := bytes.Index(statement, []byte(field)) + len(field)
	end := start + bytes.IndexByte(statement[start:], '"')
	payload, err := base64.StdEncoding.DecodeString(string(statement[start:end]))
	if err != nil {
		t.Fatal(err)
	}
	payload = bytes.Replace(payload, []byte(release.LayerTitle), []byte("forged"), 1)
	return slices.Concat(statement[:start], []byte(base64.StdEncoding.EncodeToString(payload)), statement[end:])
}

// unpack and pack read and write an archive without judging what is in it.
func unpack(t testing.TB, archive []byte) map[string]string {
	t.Helper()
	z, err := gzip.NewReader(bytes.NewReader(archive))
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for r := tar.NewReader(z); ; {
		header, err := r.Next()
		if err == io.EOF {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		files[header.Name] = string(data)
	}
}

func pack(t testing.TB, files map[string]string) []byte {
	t.Helper()
	var buf bytes.Buffer
	z := gzip.NewWriter(&buf)
	w := tar.NewWriter(z)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(files[name])), Format: tar.FormatUSTAR}); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, files[name]); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}
