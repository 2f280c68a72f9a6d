package conformance

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write report.md anew")

// report counts what was run how.
type report struct {
	v1, v0, converted, ran        int
	skipped, unrestricted, v0only []string
	// What plans did: answered as wanted, failed as wanted, answered as topdown without
	// strict errors, gave up by name of the case.
	answered, refused, lenients int
	fellBack                    map[string]fallback
}

func (r *report) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, `# OPA's conformance cases

Written by the test; run it with -update after a change of OPA or of what bundles may use.

%d cases of testdata/v1 and %d of testdata/v0 run through the engine's evaluation path, each with and without the rule
index. %d more cases of testdata/v0 are the same cases in the older syntax: OPA has made those of testdata/v1 from them.

Each case also goes through its plan. %d plans answer as wanted, %d fail where an error is wanted, %d answer where only
strict errors of builtins are one, as topdown does without those. %d give up, and topdown answers:

%s`, r.v1-len(r.skipped), r.v0, r.converted, r.answered, r.refused, r.lenients, len(r.fellBack), r.reasons())
	section(&b, "Skipped", "These fail, and are meant to.", r.skipped, func(note string) string {
		return note + ": " + skipped[note][0]
	})
	section(&b, "Rego v0 only", "These are written in a syntax or for builtins that Rego v1 no longer has. Bundles are Rego v1.", r.v0only, nil)
	section(&b, "Run with all builtins", "Bundles cannot use the builtin named first, so these ran under OPA's full capabilities.", r.unrestricted, nil)
	return b.String()
}

// reasons counts why plans gave up.
func (r *report) reasons() string {
	count := map[fallback]int{}
	for _, why := range r.fellBack {
		count[why]++
	}
	var b strings.Builder
	for _, why := range slices.Sorted(maps.Keys(count)) {
		fmt.Fprintf(&b, "- %d: %s\n", count[why], why)
	}
	return b.String()
}

func section(b *strings.Builder, title, why string, notes []string, word func(string) string) {
	fmt.Fprintf(b, "\n## %s (%d)\n\n%s\n\n", title, len(notes), why)
	slices.Sort(notes)
	for _, note := range notes {
		if word != nil {
			note = word(note)
		}
		fmt.Fprintf(b, "- %s\n", note)
	}
}

func (r *report) compare(t *testing.T) {
	t.Helper()
	if t.Failed() || r.ran != r.v1+r.v0 { // -run left some out
		return
	}
	if len(r.skipped) != len(skipped) {
		t.Errorf("%d of %d cases of the list of skipped cases were met", len(r.skipped), len(skipped))
	}
	if len(r.fellBack) != len(fallbacks) {
		t.Errorf("%d of %d cases of the list of fallbacks were met", len(r.fellBack), len(fallbacks))
	}
	const name = "report.md"
	if *update {
		if err := os.WriteFile(name, []byte(r.text()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	committed, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if string(committed) != r.text() {
		t.Errorf("%s is not what this run did; read the differences, then run the test with -update:\n%s", name, r.text())
	}
}
