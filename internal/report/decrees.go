package report

import (
	"slices"

	"github.com/westworld-charter/charter/internal/ledger"
)

// Override is an emergency override that was in force in the period.
type Override struct {
	ID        string   `json:"id"`
	Clauses   []string `json:"clauses"`
	Nodes     []string `json:"nodes"` // none is all
	Purposes  []string `json:"purposes"`
	Retention string   `json:"retention,omitempty"`
	Began     string   `json:"began"` // time of the entry
	From      string   `json:"from,omitempty"`
	Until     string   `json:"until,omitempty"` // as of the last renewal
	Renewals  uint64   `json:"renewals"`
	Ended     string   `json:"ended,omitempty"`
	EndedBy   string   `json:"ended_by,omitempty"` // quorum or expiry
	// Signers are the addresses of the committee that signed its beginning, its
	// renewals and its end.
	Signers []string `json:"signers"`
	Entries Citation `json:"entries"`

	began, ended int64
}

// Revocation is one of a node's data access that held in the period.
type Revocation struct {
	Node         string   `json:"node"`
	Reason       string   `json:"reason"`
	By           string   `json:"by,omitempty"`
	Began        string   `json:"began"`
	ExportUntil  string   `json:"export_until,omitempty"`
	ExportClosed string   `json:"export_closed,omitempty"` // when the node could export no more
	Ended        string   `json:"ended,omitempty"`
	EndedBy      string   `json:"ended_by,omitempty"`
	Signers      []string `json:"signers"`
	Entries      Citation `json:"entries"`

	began, ended int64
}

// decree is an [Override] or a [Revocation].
type decree interface{ during() (began, ended int64) }

func (o *Override) during() (began, ended int64)   { return o.began, o.ended }
func (r *Revocation) during() (began, ended int64) { return r.began, r.ended }

// held tells whether it was in force at some time of a period.
func held(d decree, p Period) bool {
	began, ended := d.during()
	return began < p.To.UnixNano() && (ended == 0 || ended >= p.From.UnixNano())
}

// decrees follows overrides and revocations, from before the period on.
type decrees struct {
	limit       int
	forget      int64 // what ended before this time is not kept
	overrides   []*Override
	revocations []*Revocation
	more        uint64 // begun without a place
}

// overrode folds an override entry; it returns the override, nil when there is none.
func (d *decrees) overrode(ev *event) (*Override, *ledger.OverrideChange, error) {
	c, err := dataOf[ledger.OverrideChange](ev)
	if err != nil {
		return nil, nil, err
	}
	at := slices.IndexFunc(d.overrides, func(o *Override) bool { return o.ID == c.ID && o.ended == 0 })
	if c.Action == ledger.Began && at < 0 {
		o := &Override{
			ID: c.ID, Clauses: some(c.Clauses), Nodes: some(c.Nodes), Purposes: some(c.Purposes), Retention: c.Retention,
			Began: stamp(instant(ev.Time)), From: c.From, Until: c.Until, Signers: some(c.Signers), began: ev.Time,
		}
		o.Entries.add(ev.index)
		d.overrides = keep(d, d.overrides, o)
		return o, &c, nil
	}
	if at < 0 {
		return nil, &c, nil
	}
	o := d.overrides[at]
	o.Entries.add(ev.index)
	o.Signers = joined(o.Signers, c.Signers)
	switch c.Action {
	case ledger.Renewed:
		o.Until = c.Until
		o.Renewals++
	case ledger.Ended:
		o.Ended, o.EndedBy, o.ended = stamp(instant(ev.Time)), c.By, ev.Time
	}
	return o, &c, nil
}

// revoked folds a revocation entry.
func (d *decrees) revoked(ev *event) (*Revocation, *ledger.RevocationChange, error) {
	c, err := dataOf[ledger.RevocationChange](ev)
	if err != nil {
		return nil, nil, err
	}
	at := slices.IndexFunc(d.revocations, func(r *Revocation) bool { return r.Node == ev.Node && r.ended == 0 })
	if c.Action == ledger.Began && at < 0 {
		r := &Revocation{
			Node: ev.Node, Reason: c.Reason, By: c.By, Began: stamp(instant(ev.Time)), ExportUntil: c.ExportUntil, Signers: some(c.Signers), began: ev.Time,
		}
		r.Entries.add(ev.index)
		d.revocations = keep(d, d.revocations, r)
		return r, &c, nil
	}
	if at < 0 {
		return nil, &c, nil
	}
	r := d.revocations[at]
	r.Entries.add(ev.index)
	r.Signers = joined(r.Signers, c.Signers)
	switch c.Action {
	case ledger.WindowClosed:
		r.ExportClosed = stamp(instant(ev.Time))
	case ledger.Ended:
		r.Ended, r.EndedBy, r.ended = stamp(instant(ev.Time)), c.By, ev.Time
	}
	return r, &c, nil
}

// keep adds to a list, which loses what no report tells any more.
func keep[T decree](d *decrees, all []T, one T) []T {
	if len(all) >= d.limit {
		all = slices.DeleteFunc(all, func(old T) bool {
			_, ended := old.during()
			return ended > 0 && ended < d.forget
		})
	}
	if len(all) >= d.limit {
		d.more++
		return all
	}
	return append(all, one)
}

func (d *decrees) overridesDuring(p Period) []Override {
	all := []Override{}
	for _, o := range d.overrides {
		if held(o, p) {
			one := *o
			one.Entries = o.Entries.settled()
			all = append(all, one)
		}
	}
	return all
}

func (d *decrees) revocationsDuring(p Period) []Revocation {
	all := []Revocation{}
	for _, r := range d.revocations {
		if held(r, p) {
			one := *r
			one.Entries = r.Entries.settled()
			all = append(all, one)
		}
	}
	return all
}

// some is a list, not null, when there are none.
func some(list []string) []string { return append([]string{}, list...) }

// joined are two lists as one set, sorted.
func joined(a, b []string) []string {
	return append([]string{}, slices.Compact(slices.Sorted(slices.Values(slices.Concat(a, b))))...)
}
