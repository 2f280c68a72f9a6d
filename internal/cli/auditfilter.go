package cli

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/westworld-charter/charter/internal/diag"
	"github.com/westworld-charter/charter/internal/ledger"
)

// filterFlags select entries.
type filterFlags struct {
	node, metric, clause, outcome, text string
	kinds, severities                   []string
	since, until                        string
}

func (f *filterFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.node, "node", "", "only entries about this node `id`")
	flags.StringVar(&f.metric, "metric", "", "only entries about this metric `name`")
	flags.StringVar(&f.clause, "clause", "", "only entries that cite this clause `id`")
	flags.StringVar(&f.outcome, "outcome", "", "only this `outcome`, such as forbidden")
	flags.StringSliceVar(&f.severities, "severity", nil, "only these `severities`: critical, high, medium, low, none")
	flags.StringSliceVar(&f.kinds, "kind", nil, "only these `kinds`: denial, window, activation, ...")
	flags.StringVar(&f.text, "text", "", "only entries that contain this `text`, letter case aside")
	flags.StringVar(&f.since, "since", "", "only from this `time` on: 24h, 7d (ago), 2026-06-01 or RFC 3339")
	flags.StringVar(&f.until, "until", "", "only before this `time`")
}

// filter checks the flags.
func (f *filterFlags) filter(now time.Time) (ledger.Filter, error) {
	out := ledger.Filter{Node: f.node, Metric: f.metric, Clause: f.clause, Outcome: f.outcome, Text: f.text, Severities: f.severities}
	var known []string
	for _, kind := range ledger.Kinds() {
		known = append(known, string(kind))
	}
	for _, name := range f.kinds {
		if !slices.Contains(known, name) {
			return out, usagef("--kind: unknown kind %q; %s", name, suggestion(name, known))
		}
		out.Kinds = append(out.Kinds, ledger.Kind(name))
	}
	severities := []string{"critical", "high", "medium", "low", "none"}
	for _, name := range f.severities {
		if !slices.Contains(severities, name) {
			return out, usagef("--severity: unknown severity %q; %s", name, suggestion(name, severities))
		}
	}
	var err error
	if out.Since, err = moment(f.since, now); err != nil {
		return out, usagef("--since: %w", err)
	}
	if out.Until, err = moment(f.until, now); err != nil {
		return out, usagef("--until: %w", err)
	}
	if !out.Until.IsZero() && out.Until.Before(out.Since) {
		return out, usagef("--until is before --since: nothing lies between them")
	}
	return out, nil
}

func suggestion(name string, known []string) string {
	if near := diag.DidYouMean(name, known); near != "" {
		return "did you mean " + near + "?"
	}
	return "there are " + strings.Join(known, ", ")
}

// timeOnly reports whether the flags select by time and by nothing else: such
// entries follow one another.
func (f *filterFlags) timeOnly() bool {
	return f.node == "" && f.metric == "" && f.clause == "" && f.outcome == "" && f.text == "" && len(f.kinds) == 0 && len(f.severities) == 0
}

// words says what was selected, for a manifest.
func (f *filterFlags) words(since, until time.Time) map[string]string {
	words := map[string]string{}
	for name, value := range map[string]string{
		"node": f.node, "metric": f.metric, "clause": f.clause, "outcome": f.outcome, "text": f.text,
		"kind": strings.Join(f.kinds, ","), "severity": strings.Join(f.severities, ","),
		"since": instant(since), "until": instant(until),
	} {
		if value != "" {
			words[name] = value
		}
	}
	return words
}

func instant(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339Nano)
}

// moment reads a time: RFC 3339, a date (00:00 UTC), or how long ago. "" is the
// zero time. Entries count nanoseconds since 1970, so times that these cannot say
// are brought to the nearest one that they can.
func moment(text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	for _, layout := range []string{time.RFC3339Nano, time.DateOnly} {
		if t, err := time.Parse(layout, text); err == nil {
			if first, last := time.Unix(0, 1), time.Unix(0, math.MaxInt64); t.Before(first) {
				t = first
			} else if t.After(last) {
				t = last
			}
			return t, nil
		}
	}
	ago, err := span(text)
	if err != nil {
		return time.Time{}, err
	}
	return now.Add(-ago), nil
}

func span(text string) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	for unit, length := range map[string]time.Duration{"d": 24 * time.Hour, "w": 7 * 24 * time.Hour} {
		if number, ok := strings.CutSuffix(text, unit); ok && err != nil {
			var n uint64
			if n, err = strconv.ParseUint(number, 10, 15); err == nil {
				d = time.Duration(n) * length
			}
		}
	}
	if err != nil || d < 0 {
		return 0, fmt.Errorf("%q is neither a time such as 2026-06-01T12:00:00Z or 2026-06-01, nor how long ago, such as 24h or 7d", text)
	}
	return d, nil
}
