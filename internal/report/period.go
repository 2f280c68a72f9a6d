package report

import (
	"fmt"
	"strconv"
	"time"
)

// Period is a half-open time, in UTC: From belongs to it, To does not. An entry
// belongs to the period of its own time, which is when it was appended.
type Period struct {
	Name string    `json:"name,omitempty"` // such as 2026Q4; empty for a period without a name
	From time.Time `json:"from"`
	To   time.Time `json:"to"`
}

// ParseQuarter reads a quarter of a year of the Gregorian calendar, such as 2026Q4.
func ParseQuarter(text string) (Period, error) {
	if len(text) == 6 && text[4] == 'Q' && text[5] >= '1' && text[5] <= '4' {
		if year, err := strconv.ParseUint(text[:4], 10, 16); err == nil && year >= 1970 && year < 2262 {
			return quarter(int(year), int(text[5]-'1')), nil
		}
	}
	return Period{}, fmt.Errorf("%q is not a quarter such as 2026Q4, from 1970Q1 to 2261Q4", text)
}

func quarter(year, number int) Period {
	from := time.Date(year, time.Month(1+3*number), 1, 0, 0, 0, 0, time.UTC)
	return Period{Name: fmt.Sprintf("%04dQ%d", year, number+1), From: from, To: from.AddDate(0, 3, 0)}
}

// NewPeriod returns the period between two times.
func NewPeriod(from, to time.Time) (Period, error) {
	first, last := time.Unix(0, 0), time.Unix(0, 1<<63-1)
	switch {
	case from.Before(first) || to.After(last):
		return Period{}, fmt.Errorf("a period lies between %s and %s", stamp(first), stamp(last))
	case !from.Before(to):
		return Period{}, fmt.Errorf("the period ends at %s, which is not after its beginning %s", stamp(to), stamp(from))
	}
	return Period{From: from.UTC(), To: to.UTC()}, nil
}

// Before returns the period that ends where p begins: the quarter before, or one
// that is as long.
func (p Period) Before() Period {
	if p.Name != "" {
		last := p.From.AddDate(0, -3, 0)
		return quarter(last.Year(), int(last.Month()-1)/3)
	}
	from := p.From.Add(p.From.Sub(p.To))
	if first := time.Unix(0, 0).UTC(); from.Before(first) {
		from = first
	}
	return Period{From: from, To: p.From}
}

// holds tells whether a time in nanoseconds since 1970 belongs to the period.
func (p Period) holds(at int64) bool { return at >= p.From.UnixNano() && at < p.To.UnixNano() }

func (p Period) String() string {
	text := stamp(p.From) + " to " + stamp(p.To)
	if p.Name != "" {
		text = p.Name + " (" + text + ")"
	}
	return text
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

// instant is a time of an entry.
func instant(nanoseconds int64) time.Time { return time.Unix(0, nanoseconds).UTC() }
