package charter

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode"

	"gopkg.in/yaml.v3"
	"pgregory.net/rapid"
)

// Digests are made without the whole canonical form in memory.
func TestDigestIsOfTheCanonicalForm(t *testing.T) {
	c, list := Parse("large.yaml", largeCharter(1000))
	if c == nil {
		t.Fatal(list)
	}
	sum := sha256.Sum256(c.Canonical())
	if got, want := c.Digest(), "sha256:"+hex.EncodeToString(sum[:]); got != want {
		t.Errorf("digest %s, want %s", got, want)
	}
}

// The canonical form is what digests are made of: a change of its bytes changes
// the revision of every charter, so it must be meant.
func TestCanonicalGolden(t *testing.T) {
	c := mustLoad(t, map[string]string{"charter.yaml": goodCharter(t)})
	path := filepath.Join("testdata", "good.canonical.yaml")
	if *update {
		if err := os.WriteFile(path, c.Canonical(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := string(c.Canonical()); got != string(want) {
		t.Errorf("the canonical form changed (go test -update rewrites %s):\n%s", path, got)
	}
}

func TestAppendText(t *testing.T) {
	for s, want := range map[string]string{
		"plain":                    "plain",
		"two words":                "two words",
		"30d":                      "30d",
		"net.latency":              "net.latency",
		"node_cpu_*":               "node_cpu_*",
		"group:core":               "group:core",
		"it's, (or) a+b@c.d/e":     "it's, (or) a+b@c.d/e",
		"https://example.org/x":    "https://example.org/x",
		"*":                        `"*"`,
		"*gps*":                    `"*gps*"`,
		"2026-01-11":               `"2026-01-11"`,
		"1.2.0":                    `"1.2.0"`,
		"0x00aa":                   `"0x00aa"`,
		"12:30":                    `"12:30"`,
		"1e3":                      `"1e3"`,
		"100/1m":                   `"100/1m"`,
		"yes":                      `"yes"`,
		"No":                       `"No"`,
		"y":                        `"y"`,
		"ON":                       `"ON"`,
		"null":                     `"null"`,
		"~":                        `"~"`,
		"nan":                      `"nan"`,
		".inf":                     `".inf"`,
		"a: b":                     `"a: b"`,
		"a:":                       `"a:"`,
		"a #b":                     `"a #b"`,
		"a ":                       `"a "`,
		" a":                       `" a"`,
		"- a":                      `"- a"`,
		"-":                        `"-"`,
		"a\nb\t":                   `"a\nb\t"`,
		`say "hi" \o/`:             `"say \"hi\" \\o/"`,
		"München":                  `"München"`,
		"a\u202eb":                 `"a\u202eb"`,
		"a\U000e0041b":             `"a\U000e0041b"`,
		"\U0001f600":               "\"\U0001f600\"",
		"=":                        `"="`,
		"<<":                       `"<<"`,
		"":                         `""`,
		"_x":                       "_x",
		strings.Repeat("long ", 2): `"long long "`,
	} {
		if got := string(appendText(nil, s)); got != want {
			t.Errorf("%q is written %s, want %s", s, got, want)
		}
	}
}

// Whatever the text, the YAML library reads back the same string.
func TestAppendTextReadsBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.OneOf(rapid.String(), rapid.StringMatching(`[ -~]{0,12}`), rapid.StringMatching(`[0-9a-fnoxyNOXY_.:+~-]{0,8}`)).Draw(t, "text")
		s = strings.Map(func(r rune) rune {
			if r == 0 || unicode.Is(unicode.Cs, r) {
				return -1
			}
			return r
		}, s)
		var got struct{ V yaml.Node }
		if err := yaml.Unmarshal(append(appendText([]byte("v: "), s), '\n'), &got); err != nil {
			t.Fatalf("%q: %v", s, err)
		}
		if got.V.Value != s || got.V.Tag != "!!str" {
			t.Fatalf("%q reads back as %s %q", s, got.V.Tag, got.V.Value)
		}
	})
}

// text draws what charters may hold in free text.
func text() *rapid.Generator[string] {
	return rapid.Map(rapid.OneOf(rapid.StringN(1, 20, -1), rapid.StringMatching(`[ -~\n]{1,20}`)), func(s string) string {
		return strings.Map(func(r rune) rune {
			if hidden(r) && r != '\n' && r != '\t' || unicode.Is(unicode.Cs, r) {
				return 'x'
			}
			return r
		}, s)
	})
}

// Every charter reads back from its canonical form as the same charter, and is
// written the same way again.
func TestCanonicalIsAFixedPoint(t *testing.T) {
	good := goodCharter(t)
	rapid.Check(t, func(t *rapid.T) {
		c, list := Parse("good.yaml", []byte(good))
		if c == nil {
			t.Fatal(list)
		}
		scramble(t, c)
		data := c.Canonical()
		again, list := Parse("canonical.yaml", data)
		if again == nil {
			t.Fatalf("%v\n%s", list, data)
		}
		if string(again.Canonical()) != string(data) {
			t.Fatalf("not a fixed point:\n%s\n---\n%s", data, again.Canonical())
		}
		if again.Metadata.Description != c.Metadata.Description || again.Forbidden[0].Reason != c.Forbidden[0].Reason && again.Forbidden[1].Reason != c.Forbidden[0].Reason {
			t.Fatal("text changed on the way")
		}
	})
}

// scramble changes a sound charter into another sound one.
func scramble(t *rapid.T, c *Charter) {
	c.Metadata.Description = text().Draw(t, "description")
	c.Metadata.Organization = text().Draw(t, "organization")
	c.Forbidden[0].Reason = text().Draw(t, "reason")
	c.Nodes.Groups[0].Labels = map[string]string{
		rapid.StringMatching(`[A-Za-z_][A-Za-z0-9_./-]{0,8}`).Draw(t, "label"): text().Draw(t, "value"),
		"rack": text().Draw(t, "rack"),
	}
	c.Metrics[0].Clauses[0].Match = rapid.SliceOfNDistinct(rapid.StringMatching(`[a-z0-9._:*-]{1,9}`).Filter(func(s string) bool { return checkGlob(s) == "" }), 1, 5, rapid.ID[string]).
		Draw(t, "match")
	c.Committee.Members[0].Power = rapid.Float64Range(0.001, 1e6).Draw(t, "power")
	c.Escalation[2].At = rapid.IntRange(4, 1_000_000).Draw(t, "at")
	c.Roles = rapid.Permutation(c.Roles).Draw(t, "roles")
	c.Forbidden = rapid.Permutation(c.Forbidden).Draw(t, "forbidden")
	c.Metrics = rapid.Permutation(c.Metrics).Draw(t, "metrics")
	if rapid.Bool().Draw(t, "bare") {
		c.Waivers, c.Limits, c.Reports, c.Notify[0].Slack.Channel = nil, nil, Reports{}, "c"
		c.Emergency.May = nil
	}
}

// FuzzParse is for what nobody thought of: no panic, no charter with errors, and
// a canonical form that reads back.
func FuzzParse(f *testing.F) {
	for _, seed := range seeds(f) {
		f.Add(seed)
	}
	f.Add([]byte(goodCharter(f)))
	f.Add([]byte(header))
	for _, seed := range plainSeeds() {
		f.Add(seed)
	}
	for _, s := range []string{"a: &a [*a]\n", "\xef\xbb\xbfkind: x", "a: [\n", "? [a]\n: b\n", "%YAML 1.1\n---\n", "a: !!binary x\n", header + "purposes: &p [a]\nroles: *p\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, list := Parse("charter.yaml", data)
		if (c == nil) != list.HasErrors() {
			t.Fatalf("charter %t with %v", c != nil, list)
		}
		for _, d := range list {
			if d.Code == "" || d.Message == "" || d.Pos.File == "" {
				t.Fatalf("incomplete: %+v", d)
			}
		}
		if c == nil {
			return
		}
		canonical := c.Canonical()
		again, list := Parse("canonical.yaml", canonical)
		if again == nil {
			t.Fatalf("the canonical form is refused: %v\n%s", list, canonical)
		}
		if string(again.Canonical()) != string(canonical) {
			t.Fatalf("not a fixed point:\n%s\n---\n%s", canonical, again.Canonical())
		}
		if c.Base() != nil {
			t.Fatal("a self-contained charter has a base")
		}
	})
}

// Hand-made slips in sound charters find more than blind fuzzing does.
func TestParseMutations(t *testing.T) {
	all := append(seeds(t), []byte(goodCharter(t)))
	r := newRand()
	for range 400 {
		data := mutate(r, all[r.IntN(len(all))])
		c, list := Parse("charter.yaml", data)
		if (c == nil) != list.HasErrors() {
			t.Fatalf("charter %t with %v\n%s", c != nil, list, data)
		}
		if c == nil {
			continue
		}
		if again, list := Parse("canonical.yaml", c.Canonical()); again == nil || string(again.Canonical()) != string(c.Canonical()) {
			t.Fatalf("%v\n%s", list, data)
		}
	}
}
