package engine

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"maps"
	"math"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"pgregory.net/rapid"

	"github.com/westworld-charter/charter/internal/bundle"
	"github.com/westworld-charter/charter/internal/charter"
	"github.com/westworld-charter/charter/internal/compile"
	"github.com/westworld-charter/charter/internal/decision"
	"github.com/westworld-charter/charter/rego"
)

var update = flag.Bool("update", false, "write golden files")

// Where the library reads fields of which a key has only a class: metric, node,
// labels, claims, time and the input as a whole. A new or changed line here means
// that somebody must ask whether names of one class are still told apart by
// nothing; then accept it with -update.
func TestLibraryReadsOnlyWhatKeysCover(t *testing.T) {
	library, err := rego.Modules()
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, name := range slices.Sorted(maps.Keys(library)) {
		module, err := ast.ParseModuleWithOpts(name, string(library[name]), ast.ParserOptions{RegoVersion: ast.RegoV1})
		if err != nil {
			t.Fatal(err)
		}
		for _, rule := range module.Rules {
			for at := rule; at != nil; at = at.Else {
				lines = append(lines, classReads(name+" "+at.Head.Ref().String(), at)...)
			}
		}
	}
	slices.Sort(lines)
	got := strings.Join(slices.Compact(lines), "\n") + "\n"
	const golden = "testdata/reads.golden"
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil || got != string(want) {
		t.Errorf("the library reads other things than was reviewed (%v):\n%s", err, got)
	}
}

// classReads lists the head and the expressions of a rule that mention such a field.
func classReads(place string, rule *ast.Rule) (lines []string) {
	mentions := func(x any) (found bool) {
		ast.WalkRefs(x, func(ref ast.Ref) bool {
			if !ref.HasPrefix(ast.InputRootRef) {
				return false
			}
			switch {
			case len(ref) == 1, !slices.Contains([]string{"role", "purpose", "operation", "retention"}, strings.Trim(ref[1].String(), `"`)):
				found = true
			}
			return false
		})
		ast.WalkVars(x, func(v ast.Var) bool {
			found = found || v == "input" && !strings.Contains(x.(interface{ String() string }).String(), "input.")
			return false
		})
		return found
	}
	for _, e := range rule.Body {
		if mentions(e) {
			lines = append(lines, place+": "+strings.Join(strings.Fields(string(e.Location.Text)), " "))
		}
	}
	for _, t := range []*ast.Term{rule.Head.Key, rule.Head.Value} {
		if t != nil && mentions(t) {
			lines = append(lines, place+": head "+t.String())
		}
	}
	return lines
}

// loaded prepares the compiled test charter after edit has changed its files.
func loaded(t *testing.T, edit func(files map[string][]byte)) *Policy {
	t.Helper()
	c, findings := charter.Load("testdata/cache.yaml")
	if c == nil {
		t.Fatal(findings)
	}
	b, err := compile.Build(c)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{}
	for _, path := range b.Paths() {
		text, _ := b.File(path)
		files[path] = bytes.Clone(text)
	}
	edit(files)
	if b, err = bundle.New(files); err != nil {
		t.Fatal(err)
	}
	p, err := Prepare(context.Background(), b, nil)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// Rules that read what no key covers must be decided without a cache, and an
// operator must be told why.
func TestUnprovenBundlesAreNotCached(t *testing.T) {
	edit := func(path, from, to string) func(map[string][]byte) {
		return func(files map[string][]byte) {
			if !bytes.Contains(files[path], []byte(from)) {
				t.Errorf("%s does not contain %q", path, from)
			}
			files[path] = bytes.Replace(files[path], []byte(from), []byte(to), 1)
		}
	}
	glob := func(from, to string) func(map[string][]byte) { return edit(patternsFile, from, to) }
	tables := func(from, to string) func(map[string][]byte) { return edit(bundle.DataFile, from, to) }
	for name, tc := range map[string]struct {
		edit func(map[string][]byte)
		want string
	}{
		"further module": {func(files map[string][]byte) {
			files["charter/extra.rego"] = []byte("package charter.extra\n\np := 1\n")
		}, "charter/extra.rego is not part of the library"},
		"changed module": {edit("charter/clock/clock.rego", "Clock", "Watch"), "charter/clock/clock.rego is not the library's"},
		"more in a rule": {glob(`if startswith(input.metric, "node_cpu_")`, `if { startswith(input.metric, "node_cpu_"); input.role == "x" }`), "patterns.rego:"},
		"another prefix": {glob(`if startswith(input.metric, "node_cpu_")`, `if startswith(input.metric, "node_c")`), "patterns.rego:"},
		"negated":        {glob(`if startswith(input.metric, "node_cpu_")`, `if not startswith(input.metric, "node_cpu_")`), "patterns.rego:"},
		"another field":  {glob(`if startswith(input.metric, "node_cpu_")`, `if startswith(input.node, "node_cpu_")`), "patterns.rego:"},
		"unknown field":  {glob(`if startswith(input.metric, "node_cpu_")`, `if startswith(input.source, "node_cpu_")`), "reads input.source"},
		"a further set":  {glob("package charter.patterns", "package charter.patterns\n\nextra := set()"), "patterns.rego:"},
		"not a glob":     {glob(`metric contains "node_cpu_*"`, `metric contains 7`), "patterns.rego:"},
		"guard":          {glob(`regex.match("gps"`, `regex.match("xgps"`), "set metric is not as generated"},
		"no stale_ns":    {tables(`"stale_ns"`, `"stale_s"`), "charter.stale_ns"},
		"forbid":         {tables(`"forbid":{"client_ip":true}`, `"forbid":["client_ip"]`), "forbid"},
		"selector":       {tables(`"exact":{"east-1":true`, `"exact":{"east-1":false`), "net.east.nodes.exact"},
		"label glob":     {tables(`{"gps_*"`, `{"gps*"`), "labels.prefixes"},
		"roles":          {tables(`"requires":{"mtls":true}`, `"requires":["mtls"]`), "requires"},
	} {
		t.Run(name, func(t *testing.T) {
			p := loaded(t, tc.edit)
			e := active(p, Options{})
			if _, err := e.Decide(t.Context(), question("nothing")); err != nil {
				t.Fatal(err)
			}
			if s := e.Stats(); !strings.Contains(p.Uncached(), tc.want) || p.Uncached() == "" || s.Off != p.Uncached() || s.Bypassed != 1 {
				t.Errorf("%q, want %q; %+v", p.Uncached(), tc.want, s)
			}
		})
	}
}

func TestUncovered(t *testing.T) {
	for body, want := range map[string]string{
		`input.metric == "a"`:                          "",
		`object.get(input, "node", "") == ""`:          "",
		`count(object.keys(input)) == 1`:               "",
		`x := object.union({"a": 1}, input); x.a == 1`: "",
		`time.parse_rfc3339_ns(input.time) > 1`:        "",
		`input.source == "a"`:                          "reads input.source",
		`some k; input[k] == "a"`:                      "reads input",
		`count(input) == 1`:                            "reads the whole input",
		`x := input; count(x) == 1`:                    "reads the whole input",
		`json.marshal([input]) == "a"`:                 "reads the whole input",
		`time.clock(1) == [1, 2, 3]`:                   "calls time.clock",
		`data.q.x == 1 with input as {"metric": "a"}`:  "uses with",
		`y := [z | z := rand.intn("a", 2)]; y == []`:   "calls rand.intn",
		`every z in [1] { time.now_ns() == z }`:        "calls time.now_ns",
		`io.jwt.decode_verify("a", {})[0] == true`:     "calls io.jwt.decode_verify",
	} {
		compiler := ast.NewCompiler()
		compiler.Compile(map[string]*ast.Module{
			"p": ast.MustParseModuleWithOpts("package p\n\np if { "+body+" }\n", ast.ParserOptions{RegoVersion: ast.RegoV1}),
			"q": ast.MustParseModuleWithOpts("package q\n\nx := 1\n", ast.ParserOptions{RegoVersion: ast.RegoV1}),
		})
		if compiler.Failed() {
			t.Errorf("%s: %v", body, compiler.Errors)
			continue
		}
		if got := uncovered(compiler.Modules["p"]); got == "" != (want == "") || !strings.Contains(got, want) {
			t.Errorf("%s: %q, want %q", body, got, want)
		}
	}
}

// A time that keys are made of must be the instant that the rules compare.
func TestInstant(t *testing.T) {
	for text, want := range map[string]bool{
		"2026-02-28": true, "2024-02-29T23:59:59.5Z": true, "2026-01-01T00:00:00.123456789-07:30": true, "1970-01-01T00:00:00Z": true,
		"2026-02-29": false, "2026-13-01": false, "2026-00-10": false, "2026-01-00": false, "2026-01-01T24:00:00Z": false, "2026-01-01T00:60:00Z": false,
		"2026-01-01T00:00:60Z": false, "2026-01-01t00:00:00Z": false, "2026-01-01T00:00:00z": false, "2026-01-01T00:00:00": false, "2026-01-01T00:00:00.Z": false,
		"2026-01-01T00:00:00.1234567890Z": false, "2026-01-01T00:00:00+0200": false, "2026-01-01T00:00:00+24:00": false, "2262-01-01": false, "1969-12-31": false,
		"2026-01-01T00:00:00.5": false, "": false, "2026-01-0a": false, "2026-01-01 00:00:00Z": false, "2026/01/01": false,
	} {
		if _, ok := instant(text); ok != want {
			t.Errorf("%q: %t", text, ok)
		}
	}
	digit := rapid.StringMatching(`[0-9+:.TZ-]`)
	rapid.Check(t, func(t *rapid.T) {
		at := time.Unix(rapid.Int64Range(0, 9_200_000_000).Draw(t, "s"), rapid.Int64Range(0, 999_999_999).Draw(t, "ns"))
		text := at.In(time.FixedZone("", 60*rapid.IntRange(-1439, 1439).Draw(t, "offset"))).Format(time.RFC3339Nano)
		if rapid.Bool().Draw(t, "damaged") {
			i := rapid.IntRange(0, len(text)-1).Draw(t, "at")
			text = text[:i] + digit.Draw(t, "by") + text[i+1:]
		}
		ns, ok := instant(text)
		if !ok {
			return
		}
		full := text
		if len(full) == len(time.DateOnly) {
			full += "T00:00:00Z"
		}
		want, err := time.Parse(time.RFC3339, full)
		if err != nil || want.UnixNano() != ns {
			t.Fatalf("%q is %d, not %d (%v)", text, ns, want.UnixNano(), err)
		}
	})
}

// What has a key must be a question that is valid.
func TestWhatIsWellFormedIsValid(t *testing.T) {
	y := compiled(t, nil).keys
	odd := rapid.SampledFrom([]string{"", "\xff", strings.Repeat("x", 600)})
	text := rapid.Custom(func(t *rapid.T) string {
		if rapid.IntRange(1, 12).Draw(t, "odd") == 1 {
			return odd.Draw(t, "text")
		}
		return rapid.StringN(1, 3, 8).Draw(t, "text")
	})
	keyed := 0
	rapid.Check(t, func(t *rapid.T) {
		in := decision.Input{
			Metric: text.Draw(t, "metric"), Node: text.Draw(t, "node"), Role: text.Draw(t, "role"), Purpose: text.Draw(t, "purpose"),
			Retention: rapid.SampledFrom([]string{"", "30d", "999999y", "0d", "01d", "1000000d", "1x", "-1d", "d"}).Draw(t, "retention"),
			Operation: rapid.SampledFrom([]string{"collect", "read", "export", "steal"}).Draw(t, "operation"), Time: "2026-03-01",
			Claims: rapid.SliceOfN(text, 0, 2).Draw(t, "claims"), Labels: rapid.MapOfN(text, text, 0, 2).Draw(t, "labels"),
		}
		if _, ok := y.key(&in); ok {
			keyed++
			if err := in.Validate(); err != nil {
				t.Fatalf("%+v: %v", in, err)
			}
		}
	})
	if keyed == 0 {
		t.Error("no question has a key")
	}
}

func TestContentIsUnambiguous(t *testing.T) {
	values := []any{
		nil, true, false, "", "a", "n1", json.Number("1"), json.Number("1.0"),
		[]any{},
		[]any{"a"},
		[]any{[]any{"a"}},
		[]any{"a", "b"},
		[]any{"ab"},
		doc{},
		doc{"a": "b"},
		doc{"a": doc{"b": true}},
		doc{"a": true, "b": true},
		doc{"ab": true},
		doc{"b": "a"},
		math.Pi,
	}
	seen := map[string]any{}
	for _, v := range values {
		content := string(appendContent(nil, v))
		for other, w := range seen {
			if strings.HasPrefix(content, other) || strings.HasPrefix(other, content) {
				t.Errorf("%v and %v: %q, %q", v, w, content, other)
			}
		}
		seen[content] = v
	}
	big := doc{}
	for i := range 20 {
		big[strings.Repeat("k", i)] = true
	}
	if a, b := appendContent(nil, big), appendContent(nil, maps.Clone(big)); !bytes.Equal(a, b) {
		t.Error("the order of keys shows")
	}
}
