package notify

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Critical is the severity that goes before all others.
const Critical = "critical"

// Message is something to tell. Texts that are too long are cut.
type Message struct {
	// ID is the same whenever the same thing is told: among the latest 4,096 a second
	// message with an ID is dropped. "" is made from the content.
	ID       string            `json:"id"`
	Kind     string            `json:"kind"` // such as violation or standing
	Severity string            `json:"severity,omitempty"`
	Node     string            `json:"node,omitempty"`
	Clause   string            `json:"clause,omitempty"`
	Title    string            `json:"title"` // one line
	Text     string            `json:"text,omitempty"`
	Fields   map[string]string `json:"fields,omitempty"`
	Time     time.Time         `json:"time"` // when it happened; zero is now
}

// Limits of a message, in bytes or in number.
const (
	maxID     = 128
	maxName   = 256 // of a node, a clause, a value
	maxTitle  = 200
	maxText   = 2000
	maxFields = 16
)

// bounded returns the message within its limits and without control characters.
func (m Message) bounded(now time.Time) Message {
	m.Kind, m.Severity = line(m.Kind, 64), line(m.Severity, 32)
	m.Node, m.Clause = line(m.Node, maxName), line(m.Clause, maxName)
	m.Title, m.Text = line(m.Title, maxTitle), prose(m.Text, maxText)
	fields := make(map[string]string, min(len(m.Fields), maxFields))
	for _, key := range sortedKeys(m.Fields)[:min(len(m.Fields), maxFields)] {
		fields[line(key, 64)] = line(m.Fields[key], maxName)
	}
	m.Fields = fields
	if y := m.Time.Year(); m.Time.IsZero() || y < 1 || y > 9999 {
		m.Time = now
	}
	m.Time = m.Time.UTC()
	if id := line(m.ID, maxID); id == "" || id != m.ID {
		m.ID = hash(m.ID, m.Kind, m.Severity, m.Node, m.Clause, m.Title, m.Text, m.Time.Format(time.RFC3339Nano))
	}
	return m
}

// lane is the way a message takes.
func (m Message) lane() int {
	if m.Severity == Critical {
		return urgent
	}
	return ordinary
}

// hash names texts: 128 bits, hex.
func hash(texts ...string) string {
	h := sha256.New()
	for _, t := range texts {
		fmt.Fprintf(h, "%d:%s", len(t), t)
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// line is a text without control characters and line breaks, of at most limit bytes.
func line(text string, limit int) string { return clean(text, limit, false) }

// prose is a text that keeps its line breaks.
func prose(text string, limit int) string { return clean(text, limit, true) }

func clean(text string, limit int, breaks bool) string {
	if len(text) > 4*limit { // whatever is there, it will not be shown
		text = text[:4*limit]
	}
	text = strings.Map(func(r rune) rune {
		switch {
		case r == '\n' && breaks:
			return r
		case r == utf8.RuneError, unicode.IsControl(r), unicode.Is(unicode.Cf, r), unicode.Is(unicode.Zl, r), unicode.Is(unicode.Zp, r):
			return ' ' // directions and invisible characters make a name look like another
		}
		return r
	}, text)
	if len(text) <= limit {
		return text
	}
	const more = "…"
	cut := limit - len(more)
	for cut > 0 && !utf8.RuneStart(text[cut]) {
		cut--
	}
	return text[:cut] + more
}
