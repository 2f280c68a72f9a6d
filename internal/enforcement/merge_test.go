package enforcement

import (
	"fmt"
	"testing"
	"time"
)

type doc = map[string]any

// Where an operator's document and ours speak of the same node, what denies wins, at
// any time: neither may end the other.
func TestMergeIsStricter(t *testing.T) {
	at := time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)
	past, future := "2026-05-01T00:00:00Z", "2026-07-01T00:00:00Z"
	var rows []any
	for _, state := range []any{nil, "good", "warned", "suspended", "quarantined", "strange", 7} {
		for _, until := range []any{nil, past, future} {
			row := doc{}
			if state != nil {
				row["state"] = state
			}
			if until != nil {
				row["until"] = until
			}
			rows = append(rows, row)
		}
	}
	rows = append(rows, nil, "suspended", []any{})
	permits := func(row any) bool { // as the rules have it
		fields, _ := row.(doc)
		until, _ := fields["until"].(string)
		end, err := time.Parse(time.RFC3339, until)
		return fields["state"] == "good" || fields["state"] == "warned" || err == nil && !at.Before(end)
	}
	for _, operator := range rows {
		for _, state := range []string{"warned", "suspended", "quarantined"} {
			own := doc{"state": state, "reason": "v1"}
			merged := Merge(doc{"standing": doc{"a": operator, "b": "x"}}, doc{"standing": doc{"a": own, "c": own}})
			all := merged["standing"].(doc)
			if got, want := permits(all["a"]), permits(operator) && permits(own); got != want {
				t.Errorf("%v and %s: %v permits %v", operator, state, all["a"], got)
			}
			if all["b"] != "x" || fmt.Sprint(all["c"]) != fmt.Sprint(own) {
				t.Errorf("%v", merged)
			}
		}
	}
}

func TestMerge(t *testing.T) {
	for _, c := range []struct {
		name           string
		operator, own  doc
		section, id    string
		want           string
		others, theirs bool
	}{
		{
			name: "both revoke", section: "revocations", id: "a", want: "map[export_until:2026-02-01T00:00:00Z reason:legal]",
			operator: doc{"revocations": doc{"a": doc{"export_until": "2026-02-01T00:00:00Z", "until": "2026-03-01"}}},
			own:      doc{"revocations": doc{"a": doc{"export_until": "2026-03-01T00:00:00Z", "reason": "legal"}}},
		},
		{
			name: "no exports by one", section: "revocations", id: "a", want: "map[reason:legal]",
			operator: doc{"revocations": doc{"a": doc{"reason": "left"}}},
			own:      doc{"revocations": doc{"a": doc{"export_until": "2026-03-01T00:00:00Z", "reason": "legal"}}},
		},
		{
			name: "an end that cannot be read", section: "revocations", id: "a", want: "map[reason:legal]",
			operator: doc{"revocations": doc{"a": doc{"export_until": "soon"}}},
			own:      doc{"revocations": doc{"a": doc{"export_until": "2026-03-01T00:00:00Z", "reason": "legal"}}},
		},
		{
			name: "other sections stay", section: "grants", id: "r", want: "map[n:1]",
			operator: doc{"grants": doc{"r": doc{"n": 1}}}, own: doc{"standing": doc{"a": doc{"state": "suspended"}}},
		},
		{name: "nothing of ours", section: "standing", id: "a", want: "map[state:suspended]", operator: doc{"standing": doc{"a": doc{"state": "suspended"}}}},
		{name: "nothing of theirs", section: "standing", id: "a", want: "map[state:suspended]", own: doc{"standing": doc{"a": doc{"state": "suspended"}}}},
	} {
		merged := Merge(c.operator, c.own)
		rows, _ := merged[c.section].(doc)
		if got := fmt.Sprint(rows[c.id]); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
	if Merge(nil, nil) != nil {
		t.Error("nothing is something")
	}
	unreadable := Merge(doc{"standing": "all good"}, doc{"standing": doc{"a": doc{"state": "suspended"}}})
	if unreadable["standing"] != "all good" {
		t.Error("a section that cannot be read was replaced: it denies everybody as it is")
	}
}
