package activation

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/westworld-charter/charter/internal/charter"
	"github.com/westworld-charter/charter/internal/committee"
	"github.com/westworld-charter/charter/internal/statedoc"
)

// target is what a request is about: its kind, and a node or an override.
type target struct{ kind, id string }

// proofs are the signed requests of a bundle; nothing of them is verified.
type proofs struct {
	overrides map[string]committee.Signed // by id
	renewals  map[string][]committee.Signed
	lifts     map[target][]committee.Signed // what ends something
}

// readProofs sorts requests. One that cannot be read proves nothing, and neither does
// one of a kind that nobody asks for.
func readProofs(raw []json.RawMessage) proofs {
	p := proofs{map[string]committee.Signed{}, map[string][]committee.Signed{}, map[target][]committee.Signed{}}
	for _, text := range raw {
		s, err := committee.Decode(text)
		if err != nil {
			continue
		}
		r := &s.Request
		switch r.Kind {
		case committee.Override:
			if id, err := r.ID(); err == nil {
				p.overrides[id] = s
			}
		case committee.Renew:
			p.renewals[r.Override] = append(p.renewals[r.Override], s)
		case committee.EndOverride:
			p.lifts[target{r.Kind, r.Override}] = append(p.lifts[target{r.Kind, r.Override}], s)
		case committee.Restore, committee.EndRevocation:
			p.lifts[target{r.Kind, r.Node}] = append(p.lifts[target{r.Kind, r.Node}], s)
		}
	}
	return p
}

// end notes the overrides that the committee ended before their time: they do not come
// back, whatever the server says later.
func (f *fold) end() {
	for _, what := range slices.SortedFunc(maps.Keys(f.proofs.lifts), func(a, b target) int { return strings.Compare(a.id, b.id) }) {
		if o := f.Overrides[what.id]; what.kind != committee.EndOverride || o.Ended {
			continue
		}
		for _, r := range f.proofs.lifts[what] {
			if f.timely(r) && f.attested(r) == nil {
				o := f.Overrides[what.id]
				o.Ended, o.Forget = true, f.now.Add(committee.MaxLife+skew+f.limitsOf().longest)
				f.Overrides[what.id] = o
				break
			}
		}
	}
}

// grant returns the overrides that hold, as rows of the document: what the committee
// signed, no longer than the charter, the request, its renewals and the server say.
func (f *fold) grant(stated map[string]any) map[string]any {
	granted := map[string]any{}
	for _, id := range slices.Sorted(maps.Keys(stated)) {
		fields, _ := stated[id].(map[string]any)
		until, ok := statedoc.Time(fields["until"])
		if !ok || over(until, f.now) {
			continue // it has ended, or never began
		}
		r, proven := f.proofs.overrides[id]
		err := error(failf(CodeOverrideUnproven, "the override %s comes without the request of the committee", id))
		if proven {
			err = f.attested(r)
		}
		if err != nil {
			f.findings.unproven = append(f.findings.unproven, id)
			f.findings.blame(err)
			continue
		}
		if end := earlier(until, f.lasts(id, &r.Request)); f.now.Before(end) && !f.Overrides[id].Ended {
			granted[id] = overrideRow(&r.Request, end)
		}
	}
	return granted
}

// lasts returns until when an override can last, and notes its renewals.
func (f *fold) lasts(id string, r *committee.Request) time.Time {
	limits := f.limitsOf()
	o, seen := f.Overrides[id]
	if !seen {
		o.First = f.stated
	}
	o.Forget = latest(o.Forget, r.From.Add(limits.longest+skew))
	until := r.Until
	for _, renewal := range f.proofs.renewals[id] {
		if known := slices.Contains(o.Nonces, renewal.Request.Nonce); f.attested(renewal) == nil {
			until = latest(until, renewal.Request.Until)
			if !known {
				o.Nonces, o.Renewed = append(slices.Clip(o.Nonces), renewal.Request.Nonce), f.stated
			}
		}
	}
	f.Overrides[id] = o
	until = earlier(until, r.From.Add(limits.longest))
	if limits.each > 0 {
		until = earlier(until, latest(latest(r.From, o.First), o.Renewed).Add(limits.each))
	}
	return until
}

// limitsOf reads the limits of the charter once.
func (f *fold) limitsOf() override {
	if f.limits.longest == 0 && f.charter != nil {
		f.limits.longest, _ = charter.ParseDuration(f.charter.Emergency.Max) // 0: nothing is attested
		f.limits.each, _ = charter.ParseDuration(f.charter.Emergency.Renew)  // 0: it need not be renewed
	}
	return f.limits
}

func overrideRow(r *committee.Request, until time.Time) map[string]any {
	row := map[string]any{"clauses": list(r.Clauses), "from": statedoc.Text(r.From), "until": statedoc.Text(until)}
	if len(r.Nodes) > 0 {
		row["nodes"] = list(r.Nodes)
	}
	if r.Retention != "" {
		row["retention"] = r.Retention
	}
	if len(r.Purposes) > 0 {
		row["purposes"] = list(r.Purposes)
	}
	return row
}

func list(texts []string) []any {
	all := make([]any, len(texts))
	for i, text := range texts {
		all[i] = text
	}
	return all
}
