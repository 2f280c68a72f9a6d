package charter

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/westworld-charter/charter/internal/diag"
)

// header begins the small charters of tests.
const header = "apiVersion: charter/v1\nkind: Charter\nmetadata: {name: small, version: 1.0.0}\n"

// memory reads files from a map.
func memory(files map[string]string) func(string) ([]byte, error) {
	return func(name string) ([]byte, error) {
		if content, ok := files[name]; ok {
			return []byte(content), nil
		}
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
}

// mustLoad loads charter.yaml, which must be sound.
func mustLoad(t *testing.T, files map[string]string) *Charter {
	t.Helper()
	c, list := LoadFS(memory(files), "charter.yaml")
	if c == nil {
		t.Fatalf("refused: %v", list)
	}
	return c
}

func goodCharter(t testing.TB) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(faultsDir, "good.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// The charters of the repository are what authors copy from: they load without
// so much as a warning.
func TestShippedCharters(t *testing.T) {
	files, err := filepath.Glob("../../policies/*/charter.yaml")
	if err != nil || len(files) == 0 {
		t.Skip("no charters")
	}
	for _, name := range files {
		c, list := Load(name)
		if c == nil || len(list) > 0 {
			t.Errorf("%s: %v", name, list)
			continue
		}
		if c.Extends != "" || len(c.Remove) > 0 {
			t.Errorf("%s is not flattened", name)
		}
		again, list := Parse("canonical", c.Canonical())
		if again == nil || string(again.Canonical()) != string(c.Canonical()) || again.Revision() != c.Revision() {
			t.Errorf("%s: the canonical form does not read back: %v", name, list)
		}
	}
}

func TestRevision(t *testing.T) {
	c := mustLoad(t, map[string]string{"charter.yaml": goodCharter(t)})
	hash, found := strings.CutPrefix(c.Digest(), "sha256:")
	if !found || len(hash) != 64 {
		t.Errorf("digest %q", c.Digest())
	}
	if want := "sound-1.2.0+" + hash[:12]; c.Revision() != want {
		t.Errorf("revision %q, want %q", c.Revision(), want)
	}
}

// Comments, order, style and defaults written out are not part of a charter's
// identity; any value is.
func TestDigestIsOfTheMeaning(t *testing.T) {
	good := goodCharter(t)
	digest := mustLoad(t, map[string]string{"charter.yaml": good}).Digest()
	for _, c := range []struct {
		old, new string
		same     bool
	}{
		{"# The sound", "# Another", true},
		{"purposes: [operations, capacity]", "purposes: [capacity, operations]", true},
		{"reads: [public, operator]", "reads:\n      - operator\n      - public", true},
		{"owner: ana", `owner: "ana"`, true},
		{"access_levels: [public, operator, audit]", "access_levels: [operator, public, audit]", false},
		{"retention: 30d", "retention: 31d", false},
		{"reason: what people read is theirs", "reason: What people read is theirs", false},
		{"auto_shutdown: true", "auto_shutdown: false", false},
	} {
		got := mustLoad(t, map[string]string{"charter.yaml": strings.Replace(good, c.old, c.new, 1)}).Digest()
		if (got == digest) != c.same {
			t.Errorf("%q for %q: same digest %t, want %t", c.new, c.old, got == digest, c.same)
		}
	}
}

func TestDefaults(t *testing.T) {
	c := mustLoad(t, map[string]string{"charter.yaml": header})
	want := Charter{
		Enforcement: Enforcement{Mode: "enforce", Unknown: "deny", Grace: "24h", State: "optional"},
		Audit:       Audit{Denied: "durable", Allowed: "aggregate", Critical: "witnessed", Retention: "7y"},
	}
	if c.Enforcement != want.Enforcement || c.Audit != want.Audit {
		t.Errorf("defaults %+v %+v", c.Enforcement, c.Audit)
	}
	explicit := header + "enforcement: {mode: enforce, unknown: deny, grace: 24h, state: optional}\n" +
		"audit: {denied: durable, allowed: aggregate, critical: witnessed, retention: 7y}\n"
	if got := mustLoad(t, map[string]string{"charter.yaml": explicit}); got.Digest() != c.Digest() {
		t.Error("a default that is written out changes the digest")
	}
}

func TestLoadFiles(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	write("base/charter.yaml", header+"purposes: [a]\nunknown: 1\n")
	derived := write("prod/charter.yaml", header+"extends: ../base/charter.yaml\n")
	c, list := Load(derived)
	if c != nil || len(list) != 1 || list[0].Code != codeUnknownField || list[0].Pos.File != filepath.ToSlash(filepath.Join(dir, "base/charter.yaml")) {
		t.Errorf("fault of the base: %v", list)
	}
	write("base/charter.yaml", header+"purposes: [a]\n")
	if c, list := Load(derived); c == nil || c.Base() == nil || c.Base().Base() != nil {
		t.Errorf("not loaded: %v", list)
	}
	big := write("big.yaml", header+strings.Repeat("# comment\n", 200_000))
	for _, c := range []struct{ path, code string }{
		{filepath.Join(dir, "gone.yaml"), codeUnreadable}, {dir, codeUnreadable}, {big, codeTooLarge},
	} {
		if got, list := Load(c.path); got != nil || len(list) != 1 || list[0].Code != c.code || list[0].Pos.File != c.path {
			t.Errorf("%s: %v, want %s", c.path, list, c.code)
		}
	}
}

func TestParseRefusesExtends(t *testing.T) {
	for _, text := range []string{"extends: base.yaml\n", "remove: [x]\n"} {
		if c, list := Parse("charter.yaml", []byte(header+text)); c != nil || len(list) != 1 || list[0].Pos.Line != 4 {
			t.Errorf("%q: %v", text, list)
		}
	}
	if c, list := Parse("x", nil); c != nil || !list.HasErrors() {
		t.Error("nothing is taken for a charter")
	}
}

// A warning about the base is for those who load the base.
func TestWarningsOfTheBaseStayThere(t *testing.T) {
	files := map[string]string{
		"charter.yaml": header + "extends: base.yaml\n",
		"base.yaml":    header + "access_levels: [unused]\nroles: [{name: idle}]\n",
	}
	c, list := LoadFS(memory(files), "charter.yaml")
	if c == nil || len(list) != 0 {
		t.Errorf("derived: %v", list)
	}
	if c, list := LoadFS(memory(files), "base.yaml"); c == nil || len(list) != 2 {
		t.Errorf("base: %v", list)
	}
}

func TestLimits(t *testing.T) {
	base := strings.Repeat("# comment\n", 100)
	for _, c := range []struct {
		name string
		lim  Limits
		text string
		code string
	}{
		{"document", Limits{DocumentBytes: 100}, header + base, codeTooLarge},
		{"total", Limits{TotalBytes: 1200}, header + "extends: base.yaml\n" + base[:500], codeTooLarge},
		{"values", Limits{Nodes: 20}, header + "purposes: [a, b, c, d, e, f, g, h, i, j]\n", codeTooManyValues},
		{"depth", Limits{Depth: 3}, header + "roles: [{name: a, reads: [b]}]\n", codeTooDeep},
		{"chain", Limits{Extends: 1}, header + "extends: base.yaml\n", codeExtendsLimit},
		{"findings", Limits{Findings: 3}, header + strings.Repeat("x: 1\n", 50), codeTooMany},
		{"findings in lists", Limits{Findings: 3}, header + "purposes: [" + strings.Repeat("A, ", 50) + "]\n", codeTooMany},
		{"findings of meaning", Limits{Findings: 3}, header + "access_levels: [a]\nroles: [{name: a, reads: [b, c, d, e, f, g]}]\n", codeTooMany},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := Loader{Limits: c.lim, Read: memory(map[string]string{"charter.yaml": c.text, "base.yaml": header + base})}
			got, list := l.Load("charter.yaml")
			if got != nil || !slices.ContainsFunc(list, func(d diag.Diagnostic) bool { return d.Code == c.code }) {
				t.Errorf("no %s: %v", c.code, list)
			}
			if c.lim.Findings > 0 && len(list) != c.lim.Findings+1 {
				t.Errorf("%d findings", len(list))
			}
		})
	}
}

// Warnings count too: where reading stopped at the limit there is no charter, even
// when nothing that is shown is an error.
func TestWarningsFillTheLimit(t *testing.T) {
	idle := "roles:\n" + strings.Repeat("  - {name: NAME, reads: []}\n", 6)
	for i := range 6 {
		idle = strings.Replace(idle, "NAME", fmt.Sprint("r", i), 1)
	}
	l := Loader{Limits: Limits{Findings: 10}, Read: memory(map[string]string{
		"charter.yaml": header + "extends: base.yaml\n" + idle, "base.yaml": header + idle,
	})}
	if c, list := l.Load("charter.yaml"); c != nil || !list.HasErrors() || list[len(list)-1].Code == "" {
		t.Errorf("half a charter: %v", list)
	}
}

// Catalogues of names are long; what limits them is only the limits.
func TestHundredThousandNames(t *testing.T) {
	var b strings.Builder
	b.WriteString(header + "access_levels: [public]\nroles: [{name: public, reads: [public]}]\nmetrics:\n  network:\n    - id: all\n      access: public\n      match:\n")
	for i := range 100_000 {
		fmt.Fprintf(&b, "        - metric_name_%d\n", i)
	}
	data := []byte(b.String())
	if c, list := Parse("charter.yaml", data); c != nil || list[0].Code != codeTooLarge {
		t.Errorf("default limits: %v", list)
	}
	c, list := Loader{Limits: Limits{DocumentBytes: 8 << 20, TotalBytes: 8 << 20}}.Parse("charter.yaml", data)
	if c == nil || len(c.AllClauses()[0].Match) != 100_000 {
		t.Fatalf("raised limits: %v", list)
	}
}

func TestReadErrorsAreReported(t *testing.T) {
	broken := errors.New("disk on fire")
	c, list := LoadFS(func(string) ([]byte, error) { return nil, broken }, "charter.yaml")
	if c != nil || len(list) != 1 || !strings.Contains(list[0].Message, "disk on fire") {
		t.Errorf("%v", list)
	}
}

// equal compares charters without the places they were read from.
func equal(a, b any) bool {
	return reflect.DeepEqual(strip(reflect.ValueOf(a)).Interface(), strip(reflect.ValueOf(b)).Interface())
}

// strip copies a value of the model without sources and unexported fields.
func strip(v reflect.Value) reflect.Value {
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			return v
		}
		out := reflect.New(v.Type().Elem())
		out.Elem().Set(strip(v.Elem()))
		return out
	case reflect.Struct:
		out := reflect.New(v.Type()).Elem()
		for i := range v.NumField() {
			if f := v.Type().Field(i); f.IsExported() && f.Type != sourceType {
				out.Field(i).Set(strip(v.Field(i)))
			}
		}
		return out
	case reflect.Slice:
		out := reflect.MakeSlice(v.Type(), v.Len(), v.Len())
		for i := range v.Len() {
			out.Index(i).Set(strip(v.Index(i)))
		}
		return out
	}
	return v
}

// A field that is added to the language and forgotten when flattening would
// silently vanish from every derived charter.
func TestEverythingIsInherited(t *testing.T) {
	own := []string{"apiVersion", "kind", "metadata", "extends", "remove"}
	p := newPlanner().plan(reflect.TypeFor[Charter]())
	for _, name := range p.names() {
		if slices.Contains(own, name) == slices.Contains(inherited(), name) {
			t.Errorf("field %s: is it inherited?", name)
		}
	}
	good := goodCharter(t)
	c := mustLoad(t, map[string]string{"charter.yaml": header + "extends: good.yaml\n", "good.yaml": good})
	base := mustLoad(t, map[string]string{"charter.yaml": good})
	v, w := reflect.ValueOf(c).Elem(), reflect.ValueOf(base).Elem()
	for _, f := range p.fields {
		if w.Field(f.index).IsZero() && !slices.Contains(own, f.name) {
			t.Errorf("good.yaml has no %s: the test cannot see whether it is inherited", f.name)
		}
		if !slices.Contains(own, f.name) && !equal(v.Field(f.index).Interface(), w.Field(f.index).Interface()) {
			t.Errorf("%s is not inherited", f.name)
		}
	}
	if !equal(c.Base(), base) {
		t.Error("Base is not the flattened base")
	}
}

// Places within a derived charter lead into the file that wrote them.
func TestPlacesOfInheritedFields(t *testing.T) {
	good := goodCharter(t)
	files := map[string]string{
		"charter.yaml": header + "extends: mid.yaml\npurposes: [operations, capacity, research]\n",
		"mid.yaml":     header + "extends: good.yaml\nroles: [{name: visitor, reads: [public]}]\n",
		"good.yaml":    good,
	}
	c := mustLoad(t, files)
	at := func(text string) string {
		line, err := lineOf(good, text)
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf("good.yaml:%d", line)
	}
	for name, want := range map[string]string{
		c.Field("access_levels").String():             at("access_levels") + ":16",
		c.Item("access_levels", 1).String():           at("access_levels") + ":25",
		c.Item("purposes", 2).String():                "charter.yaml:5:34",
		c.Item("purposes", 99).String():               "charter.yaml:5:11",
		c.Roles[0].Field("name").String():             "mid.yaml:5:16",
		c.Field("roles").String():                     "mid.yaml:5:8",
		c.Enforcement.Field("grace").String():         at("grace") + ":10",
		c.AllClauses()[0].Field("nothing").String():   at("- id: net.latency") + ":7",
		c.Forbidden[0].Item("match", 0).String():      at(`match: ["*_location*"]`) + ":13",
		c.Metadata.Field("name").String():             "charter.yaml:3:18",
		c.Field("no such field").String():             "charter.yaml:1:1",
		Source{}.Pos().String() + "nowhere":           "nowhere",
		fmt.Sprint(c.Has("purposes"), c.Has("roles")): "true false",
	} {
		if name != want {
			t.Errorf("%s, want %s", name, want)
		}
	}
}

func TestFlatten(t *testing.T) {
	base := header + `access_levels: [public, audit]
purposes: [a, b]
roles:
  - {name: r1, reads: [public], collects: [one, two]}
  - {name: r2, reads: [audit]}
metrics:
  one:
    - {id: c1, match: [m1], access: public, retention: 1d}
    - {id: c2, match: [m2], access: public, purposes: [a]}
  two:
    - {id: c3, match: [m3], access: audit}
forbidden:
  - {id: f1, match: [x], severity: low, reason: why}
limits:
  - {id: l1, rate: 1/1s}
escalation:
  - {level: 1, at: 1, within: 1d, action: log}
  - {level: 3, at: 9, within: 1d, action: refer}
enforcement: {grace: 1h, state: required}
nodes:
  groups: [{name: g1, match: [n1]}]
  entries: [{node: n1, status: revoked, reason: r}]
reports:
  anonymous: true
  channels: [{name: ch1, kind: cli, address: a}]
`
	derived := header + `extends: base.yaml
remove: [l1, c2]
access_levels: [audit, public]
roles:
  - {name: r3, reads: [audit], collects: [three]}
  - {name: r1, reads: [public], collects: [one, three]}
metrics:
  three:
    - {id: c3, match: [m3, m4], access: public}
  one:
    - {id: c4, match: [m5], access: public}
    - {id: c1, match: [m1], access: audit}
forbidden:
  - {id: f2, match: [y], severity: high, reason: why}
escalation:
  - {level: 2, at: 4, within: 1d, action: warn}
enforcement: {mode: warn}
nodes:
  groups: [{name: g2, match: [n2]}]
reports:
  channels: [{name: ch1, kind: cli, address: b}]
`
	c := mustLoad(t, map[string]string{"charter.yaml": derived, "base.yaml": base})
	var got []string
	for i := range c.Metrics {
		for _, cl := range c.Metrics[i].Clauses {
			got = append(got, cl.Category+"/"+cl.ID+":"+strings.Join(cl.Match, "+")+"@"+cl.Access)
		}
	}
	check := func(what, got, want string) {
		t.Helper()
		if got != want {
			t.Errorf("%s: %s, want %s", what, got, want)
		}
	}
	check("clauses", strings.Join(got, " "), "one/c1:m1@audit one/c4:m5@public three/c3:m3+m4@public")
	check("roles", namesOf(c.Roles, func(r Role) string { return r.Name + "=" + strings.Join(r.Collects, "+") }), "r1=one+three r2= r3=three")
	check("levels", strings.Join(c.AccessLevels, " "), "audit public")
	check("purposes", strings.Join(c.Purposes, " "), "a b")
	check("forbidden", namesOf(c.Forbidden, func(f Forbidden) string { return f.ID }), "f1 f2")
	check("limits", fmt.Sprint(len(c.Limits)), "0")
	check("steps", namesOf(c.Escalation, func(s Step) string { return fmt.Sprint(s.Level) }), "1 2 3")
	check("a section is replaced as a whole", fmt.Sprint(c.Enforcement.Mode, c.Enforcement.Grace, c.Enforcement.State), "warn24hoptional")
	check("groups", namesOf(c.Nodes.Groups, func(g Group) string { return g.Name }), "g1 g2")
	check("entries", fmt.Sprint(len(c.Nodes.Entries)), "1")
	check("reports", fmt.Sprint(c.Reports.Anonymous, len(c.Reports.Channels), c.Reports.Channels[0].Address), "true 1b")
	check("base", namesOf(c.Base().Roles, func(r Role) string { return r.Name }), "r1 r2")
	if again, list := Parse("x", c.Canonical()); again == nil || string(again.Canonical()) != string(c.Canonical()) || again.Base() != nil {
		t.Errorf("the flattened charter does not read back: %v", list)
	}
}

// A derived charter that repeats parts of its base word for word means the same
// as one that does not.
func TestDerivingCopiesChangesNothing(t *testing.T) {
	good := goodCharter(t)
	var sections []string
	for _, line := range strings.SplitAfter(good, "\n") {
		switch {
		case line == "" || line[0] == '#':
		case line[0] == ' ':
			sections[len(sections)-1] += line
		default:
			sections = append(sections, line)
		}
	}
	sections = slices.DeleteFunc(sections, func(s string) bool {
		return strings.HasPrefix(s, "apiVersion") || strings.HasPrefix(s, "kind") || strings.HasPrefix(s, "metadata")
	})
	want := mustLoad(t, map[string]string{"charter.yaml": header + "extends: good.yaml\n", "good.yaml": good})
	rapid.Check(t, func(rt *rapid.T) {
		text := header + "extends: good.yaml\n"
		for _, s := range rapid.Permutation(sections).Draw(rt, "sections")[:rapid.IntRange(0, len(sections)).Draw(rt, "count")] {
			text += s
		}
		c, list := LoadFS(memory(map[string]string{"charter.yaml": text, "good.yaml": good}), "charter.yaml")
		if c == nil || len(list) > 0 {
			rt.Fatalf("%v\n%s", list, text)
		}
		if string(c.Canonical()) != string(want.Canonical()) {
			rt.Fatalf("%s\nmakes\n%s", text, c.Canonical())
		}
	})
}

func namesOf[T any](list []T, name func(T) string) string {
	var out []string
	for _, x := range list {
		out = append(out, name(x))
	}
	return strings.Join(out, " ")
}
