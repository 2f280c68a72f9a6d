package report

import "strconv"

// Figure is a count with the entries that it was counted from. One entry may stand
// for many: a window holds counts.
type Figure struct {
	Count   uint64   `json:"count"`
	Entries Citation `json:"entries"`
}

// Citation names entries of the ledger, so that an auditor can look at them.
type Citation struct {
	Count uint64 `json:"count"` // entries
	// Ranges hold all of them: first and last index, ascending, at most [MaxRanges].
	Ranges []Range `json:"ranges"`
	// Exact says that every entry in the ranges is one of them. Otherwise others lie
	// between them, and the kind, node or clause that the figure is about tells which.
	Exact bool `json:"exact"`
}

// Range is a run of entries, by the first and the last index.
type Range [2]uint64

// MaxRanges is how many ranges a citation has at most.
const MaxRanges = 8

// add counts n from the entry at index. Entries come in their order; several
// counts may come from one.
func (f *Figure) add(n, index uint64) {
	f.Count += n
	f.Entries.add(index)
}

func (c *Citation) add(index uint64) {
	last := len(c.Ranges) - 1
	switch {
	case last >= 0 && c.Ranges[last][1] == index:
		return
	case last >= 0 && c.Ranges[last][1]+1 == index:
		c.Ranges[last][1] = index
	default:
		c.Ranges = append(c.Ranges, Range{index, index})
		if len(c.Ranges) > MaxRanges {
			c.join()
		}
	}
	c.Count++
}

// join makes one range of the two that are closest to each other.
func (c *Citation) join() {
	at := 1
	for i := 2; i < len(c.Ranges); i++ {
		if c.Ranges[i][0]-c.Ranges[i-1][1] < c.Ranges[at][0]-c.Ranges[at-1][1] {
			at = i
		}
	}
	c.Ranges[at-1][1] = c.Ranges[at][1]
	c.Ranges = append(c.Ranges[:at], c.Ranges[at+1:]...)
}

// settled completes a figure for a document.
func (f Figure) settled() Figure {
	f.Entries = f.Entries.settled()
	return f
}

func (c Citation) settled() Citation {
	covered := uint64(0)
	ranges := make([]Range, len(c.Ranges)) // a list, not null, when there are none
	for i, r := range c.Ranges {
		ranges[i] = r
		covered += r[1] - r[0] + 1
	}
	return Citation{Count: c.Count, Ranges: ranges, Exact: covered == c.Count}
}

// String is the citation for people.
func (c Citation) String() string {
	if c.Count == 0 {
		return "none"
	}
	text := ""
	for i, r := range c.Ranges {
		if i > 0 {
			text += ", "
		}
		text += strconv.FormatUint(r[0], 10)
		if r[1] != r[0] {
			text += "–" + strconv.FormatUint(r[1], 10)
		}
	}
	if !c.Exact {
		text = number(c.Count) + " within " + text
	}
	return text
}

// number writes a count for people: in groups of three digits.
func number(n uint64) string {
	text := strconv.FormatUint(n, 10)
	for at := len(text) - 3; at > 0; at -= 3 {
		text = text[:at] + "," + text[at:]
	}
	return text
}
