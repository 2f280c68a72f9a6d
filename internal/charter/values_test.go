package charter

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestParseDuration(t *testing.T) {
	for s, want := range map[string]time.Duration{
		"1s": time.Second, "90m": 90 * time.Minute, "24h": 24 * time.Hour, "30d": 720 * time.Hour, "2w": 336 * time.Hour,
		"7y": 7 * 365 * 24 * time.Hour, "999999s": 999999 * time.Second, "292y": 292 * 365 * 24 * time.Hour,
	} {
		if got, err := ParseDuration(s); err != nil || got != want {
			t.Errorf("ParseDuration(%q) = %v, %v", s, got, err)
		}
	}
	for _, s := range []string{
		"", "d", "30", "030d", "0d", "-1d", "+1d", "1.5h", "1h30m", "30 d", " 30d", "30d ", "30D", "1000000s", "293y", "999999y", "30dd", "3ms", "é1d", "١d",
	} {
		if got, err := ParseDuration(s); err == nil {
			t.Errorf("ParseDuration(%q) = %v", s, got)
		} else if !strings.HasPrefix(err.Error(), "duration ") {
			t.Errorf("ParseDuration(%q): %v", s, err)
		}
	}
}

func TestParseTime(t *testing.T) {
	for s, want := range map[string]string{
		"2026-01-31":                     "2026-01-31T00:00:00Z",
		"2026-01-31T12:30:00Z":           "2026-01-31T12:30:00Z",
		"2026-01-31T12:30:00.5Z":         "2026-01-31T12:30:00.5Z",
		"2026-01-31T01:30:00+02:00":      "2026-01-30T23:30:00Z",
		"2026-01-31T12:30:00.000000001Z": "2026-01-31T12:30:00.000000001Z",
		"2261-12-31":                     "2261-12-31T00:00:00Z",
	} {
		if got, err := ParseTime(s); err != nil || got.UTC().Format(time.RFC3339Nano) != want {
			t.Errorf("ParseTime(%q) = %v, %v", s, got, err)
		}
	}
	for _, s := range []string{
		"", "2026", "2026-1-31", "2026-02-30", "31.01.2026", "2026-01-31T12:30:00", "2026-01-31 12:30:00Z", "2026-01-31T2:30:00Z", "2026-01-31t12:30:00z",
		"2026-01-31T12:30:00,5Z", "2026-01-31T12:30Z", "1969-12-31", "2262-01-01", "9999-12-31", "2026-01-31T12:30:00+24:00", "2026-01-31T24:00:00Z",
		"0001-01-01", "2026-01-31T12:30:00+02:60", "tomorrow",
	} {
		if got, err := ParseTime(s); err == nil {
			t.Errorf("ParseTime(%q) = %v", s, got)
		}
	}
}

// The schema that editors use must not refuse what the loader accepts.
func TestPatternsAgreeWithTheSchema(t *testing.T) {
	usual := map[string]string{
		"time":  `20[0-9]{2}-(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])(T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{1,9})?(Z|[+-](0[0-9]|1[0-3]):[0-5][0-9]))?`,
		"email": `[a-z.+]{1,9}@[a-z-]{1,9}\.[a-z]{2}`,
	}
	for name, p := range patterns() {
		t.Run(name, func(t *testing.T) {
			expr := regexp.MustCompile(p.expr)
			if usual[name] == "" {
				usual[name] = p.expr
			}
			accepted := 0
			rapid.Check(t, func(t *rapid.T) {
				s := rapid.OneOf(
					rapid.StringMatching(usual[name]), rapid.StringMatching(`[a-zA-Z0-9*._:/@-]{1,20}`), rapid.StringMatching(`[ -~]{1,20}`), rapid.StringN(1, 10, -1),
				).Draw(t, "value")
				problem := p.check(s)
				if problem == "" {
					accepted++
					if !expr.MatchString(s) {
						t.Fatalf("%q is accepted but does not match %s", s, p.expr)
					}
				}
			})
			if accepted == 0 {
				t.Error("nothing was accepted: the property says nothing")
			}
			if p.code == "" || p.what == "" || p.help == "" {
				t.Error("not documented")
			}
		})
	}
}

// No check may panic or accept line breaks, whatever it is given.
func FuzzPatterns(f *testing.F) {
	for _, s := range []string{"", "a", "1.2.0", "30d", "0x00", "https://a/b", "100/1m", "group:x", "a*b", "é", "\x00", "2026-01-01", "a@b.c", "../x.yaml", "\xff"} {
		f.Add(s)
	}
	all := patterns()
	f.Fuzz(func(t *testing.T, s string) {
		if s == "" {
			return // refused before
		}
		for name, p := range all {
			if p.check(s) == "" && strings.ContainsAny(s, "\n\r\x00") {
				t.Errorf("%s accepts %q", name, s)
			}
		}
	})
}
