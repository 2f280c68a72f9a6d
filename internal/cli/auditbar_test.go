package cli

import (
	"strings"
	"testing"
	"time"
)

// A bar is drawn ten times a second at most, and leaves nothing behind.
func TestBar(t *testing.T) {
	var screen strings.Builder
	now := time.Unix(0, 0)
	p := &program{progress: &screen, now: func() time.Time { return now }}
	b := p.newBar("verify")
	for done := range uint64(1001) {
		now = now.Add(10 * time.Millisecond)
		b.show(done, 1000)
	}
	b.clear()
	drawn := strings.Split(screen.String(), "\r")
	if len(drawn) < 90 || len(drawn) > 110 {
		t.Errorf("drawn %d times", len(drawn))
	}
	if want := "verify [###############...............]  50 %  500 of 1000, 100/s\x1b[K"; !strings.Contains(screen.String(), want) {
		t.Errorf("no %q in %q", want, drawn)
	}
	if drawn[len(drawn)-1] != "\x1b[K" {
		t.Errorf("it ends in %q", drawn[len(drawn)-1])
	}
	screen.Reset()
	p.progress = nil
	p.newBar("verify").show(1, 2)
	if screen.Len() > 0 {
		t.Error("drawn without a terminal")
	}
}
