package ledger

import "slices"

// pruning is what a verification learns about bodies that are gone. They must be
// covered by a [Seal], which is later in the log than what it covers: else anybody
// could make an entry unreadable and call it pruned.
type pruning struct {
	gone   []span // entries without a body, ascending
	sealed uint64 // entries below it may be
}

// span is a run of entries; to is exclusive.
type span struct{ from, to uint64 }

// missing takes note of an entry without a body; they come in order.
func (p *pruning) missing(index uint64) {
	if last := len(p.gone) - 1; last >= 0 && p.gone[last].to == index {
		p.gone[last].to++
		return
	}
	p.gone = append(p.gone, span{index, index + 1})
}

// seal takes note of a seal in the entry at index.
func (p *pruning) seal(index uint64, s *Seal) (ok bool) {
	if s.From > s.To || s.To > index {
		return false
	}
	p.sealed = max(p.sealed, s.To)
	return true
}

// unaccounted returns the first entry whose body is gone without a seal.
func (p *pruning) unaccounted() (index uint64, found bool) {
	i := slices.IndexFunc(p.gone, func(s span) bool { return s.to > p.sealed })
	if i < 0 {
		return 0, false
	}
	return max(p.gone[i].from, p.sealed), true
}
