package cli

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// bar shows on a terminal how far something came, and nothing elsewhere.
type bar struct {
	w     io.Writer // nil shows nothing
	title string
	now   func() time.Time
	began time.Time
	last  time.Time
}

func (p *program) newBar(title string) *bar {
	return &bar{w: p.progress, title: title, now: p.now, began: p.now()}
}

const (
	barWidth = 30
	barEvery = 100 * time.Millisecond
)

func (b *bar) show(done, total uint64) {
	if b.w == nil || total == 0 {
		return
	}
	now := b.now()
	if now.Sub(b.last) < barEvery {
		return
	}
	b.last = now
	full := int(barWidth * min(done, total) / total)
	rate := float64(done) / max(now.Sub(b.began).Seconds(), 0.001)
	fmt.Fprintf(b.w, "\r%s [%s%s] %3d %%  %d of %d, %.0f/s\x1b[K", b.title,
		strings.Repeat("#", full), strings.Repeat(".", barWidth-full), 100*min(done, total)/total, done, total, rate)
}

// clear takes the bar away.
func (b *bar) clear() {
	if b.w != nil && !b.last.IsZero() {
		fmt.Fprint(b.w, "\r\x1b[K")
	}
}
