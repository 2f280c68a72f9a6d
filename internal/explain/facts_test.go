package explain

import (
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/westworld-charter/charter/internal/decision"
	"github.com/westworld-charter/charter/rego"
)

// A rule that is renamed in the library would silently become "not met" here.
func TestFactsAreRules(t *testing.T) {
	modules, err := rego.Modules()
	if err != nil {
		t.Fatal(err)
	}
	byPackage := map[string]string{"charter.patterns": "metric contains", "charter.tables": ""}
	packageLine := regexp.MustCompile(`(?m)^package (\S+)`)
	for _, text := range modules {
		byPackage[packageLine.FindStringSubmatch(string(text))[1]] += string(text)
	}
	seen := 0
	for f := range reflect.TypeFor[facts]().Fields() {
		for _, m := range regexp.MustCompile(`data\.(charter\.[a-z_]+)\.([a-z_]+)`).FindAllStringSubmatch(f.Tag.Get("rego"), -1) {
			seen++
			text, ok := byPackage[m[1]]
			defined := regexp.MustCompile(`(?m)^(default )?` + m[2] + `\b`).MatchString(text)
			if !ok || !defined && m[1] != "charter.tables" {
				t.Errorf("%s: nothing defines %s", f.Name, m[0])
			}
		}
	}
	if seen < 30 {
		t.Errorf("only %d documents were found", seen)
	}
}

// Every code that denies belongs to a step, and every step to the closed list.
func TestEveryCodeHasACheck(t *testing.T) {
	informs := []string{decision.CodeWaiverApplied, decision.CodeOverrideApplied, decision.CodeUndetermined}
	for _, code := range decision.Codes() {
		check := checkOf(code)
		if (check == "") != slices.Contains(informs, code) || check != "" && !slices.Contains(Checks(), check) {
			t.Errorf("%s: check %q", code, check)
		}
	}
}

func TestChoose(t *testing.T) {
	got := choose(2)
	if len(got) != 15 || !slices.Equal(got[0], []field{labels, retention}) || !slices.Equal(got[14], []field{operation, role}) {
		t.Errorf("%v", got)
	}
}

func TestLists(t *testing.T) {
	var names []string
	for range 60 {
		names = append(names, "x")
	}
	p := path{facts: &facts{}}
	s := p.close([]Step{{Charter: names, Asked: names[:55], Matches: make([]Match, 3)}})[0]
	if len(s.Charter) != MaxListed || len(s.Asked) != MaxListed || s.More != 10 {
		t.Errorf("%+v", s)
	}
	if text := (&Change{RemoveLabels: names}).String(); text != "allowed without labels "+strings.Repeat("x, ", 9)+"x and 50 more" {
		t.Error(text)
	}
	none := ""
	if text := (&Change{Purpose: &none}).String(); text != "allowed without a purpose" {
		t.Error(text)
	}
}
