package notify

import (
	"fmt"
	"strings"
	"time"
)

// Payload is what a webhook gets, in the form that Standard Webhooks recommends.
type Payload struct {
	// Type is charter. and the kind of the message, or charter.digest.
	Type      string    `json:"type"`
	Timestamp time.Time `json:"timestamp"` // of the earliest message
	Data      Data      `json:"data"`
}

// Data says what happened: one message, or a digest of several.
type Data struct {
	ID       string    `json:"id"` // the same in every attempt
	Count    int       `json:"count"`
	Severity string    `json:"severity,omitempty"` // the gravest
	Title    string    `json:"title"`
	First    time.Time `json:"first"`
	Last     time.Time `json:"last"`
	// The names that occurred most, ten of each at most, and how many occurrences
	// are not among them.
	Severities     []Counted `json:"severities,omitempty"`
	Kinds          []Counted `json:"kinds,omitempty"`
	Clauses        []Counted `json:"clauses,omitempty"`
	ClausesOmitted int       `json:"clauses_omitted,omitempty"`
	Nodes          []Counted `json:"nodes,omitempty"`
	NodesOmitted   int       `json:"nodes_omitted,omitempty"`
	Messages       []Message `json:"messages"` // the first ones, five at most
}

func (d *delivery) payload() Payload {
	g := d.Digest
	data := Data{ID: d.ID, Count: g.Count, Severity: g.Severity, Title: g.title(), First: g.First, Last: g.Last, Messages: g.Messages}
	data.Severities, _ = g.Severities.top()
	data.Kinds, _ = g.Kinds.top()
	data.Clauses, data.ClausesOmitted = g.Clauses.top()
	data.Nodes, data.NodesOmitted = g.Nodes.top()
	kind := "digest"
	if g.Count == 1 {
		kind = strings.Map(identifier, g.Messages[0].Kind)
	}
	return Payload{Type: "charter." + kind, Timestamp: g.First, Data: data}
}

// identifier keeps what types of events may have.
func identifier(r rune) rune {
	switch {
	case r >= 'a' && r <= 'z', r >= '0' && r <= '9', r == '_':
		return r
	case r >= 'A' && r <= 'Z':
		return r + 'a' - 'A'
	default:
		return '_'
	}
}

// title says it in a line.
func (g *digest) title() string {
	if g.Count == 1 {
		m := g.Messages[0]
		if m.Severity == "" {
			return m.Title
		}
		return "[" + m.Severity + "] " + m.Title
	}
	text := fmt.Sprintf("%d notices", g.Count)
	if kinds, _ := g.Kinds.top(); len(kinds) == 1 && kinds[0].Count == g.Count {
		text = fmt.Sprintf("%d × %s", g.Count, kinds[0].Name)
	}
	if g.Severity != "" {
		text = "[" + g.Severity + "] " + text
	}
	return fmt.Sprintf("%s in %s", text, max(g.Last.Sub(g.First), time.Second).Round(time.Second))
}

// text says the rest, in lines.
func (g *digest) text() string {
	var b strings.Builder
	if g.Count == 1 {
		writeMessage(&b, g.Messages[0])
		return b.String()
	}
	fmt.Fprintf(&b, "From %s to %s:\n", stamp(g.First), stamp(g.Last))
	section := func(what string, t tally) {
		list, rest := t.top()
		if len(list) == 0 {
			return
		}
		fmt.Fprintf(&b, "\n%s\n", what)
		for _, c := range list {
			fmt.Fprintf(&b, "  %6d  %s\n", c.Count, c.Name)
		}
		if rest > 0 {
			fmt.Fprintf(&b, "  %6d  others\n", rest)
		}
	}
	section("By severity", g.Severities)
	section("By kind", g.Kinds)
	section("By clause", g.Clauses)
	section("By node", g.Nodes)
	fmt.Fprintf(&b, "\nThe first %d:\n", len(g.Messages))
	for _, m := range g.Messages {
		fmt.Fprintf(&b, "  %s  %s\n", stamp(m.Time), m.Title)
	}
	b.WriteString("\nThe ledger has each of them: charter-admin audit.\n")
	return b.String()
}

func writeMessage(b *strings.Builder, m Message) {
	if m.Text != "" {
		fmt.Fprintf(b, "%s\n\n", m.Text)
	}
	row := func(name, value string) {
		if value != "" {
			fmt.Fprintf(b, "%s: %s\n", name, value)
		}
	}
	row("time", stamp(m.Time))
	row("node", m.Node)
	row("clause", m.Clause)
	for _, key := range sortedKeys(m.Fields) {
		row(key, m.Fields[key])
	}
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05Z") }
