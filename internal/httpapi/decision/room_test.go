package decisionapi

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/westworld-charter/charter/internal/wire"
)

func someRoom(limit int64) *room {
	r := newRoom(1, time.Second)
	r.limit = limit
	return r
}

func codeOfError(err error) string {
	if e, ok := errors.AsType[*wire.Error](err); ok {
		return e.Code
	}
	return ""
}

// What a body holds is counted while it arrives, and no more than it has.
func TestBodiesTakeRoom(t *testing.T) {
	a := &Identity{Kind: KindToken, Name: "a"}
	for _, size := range []int{0, 1, leastBuffer - 1, leastBuffer, leastBuffer + 1, 100_000} {
		for _, declared := range []int64{-1, int64(size)} {
			l := &lease{room: someRoom(1 << 20), id: a}
			want := strings.Repeat("x", size)
			got, err := l.read(iotest.HalfReader(strings.NewReader(want)), declared)
			if err != nil || string(got) != want || l.held != int64(cap(got)) || l.taken != l.held {
				t.Errorf("%d bytes, declared %d: read %d, hold %d of %d: %v", size, declared, len(got), l.held, l.taken, err)
			}
			if declared >= 0 && cap(got) > size+1 {
				t.Errorf("%d declared bytes hold %d", size, cap(got))
			}
			l.giveBack()
			if l.taken != 0 || len(l.by) != 0 {
				t.Errorf("%d bytes were not given back", l.taken)
			}
		}
	}
	l := &lease{room: someRoom(1 << 20), id: a}
	broken := errors.New("broken")
	if _, err := l.read(io.MultiReader(strings.NewReader("xx"), iotest.ErrReader(broken)), -1); !errors.Is(err, broken) {
		t.Error(err)
	}
}

// One identity cannot take all the room, and all together not more than there is.
func TestRoomIsShared(t *testing.T) {
	r := someRoom(100_000)
	of := func(name string) *lease { return &lease{room: r, id: &Identity{Kind: KindToken, Name: name}} }
	large := func(l *lease, n int) error {
		_, err := l.read(bytes.NewReader(make([]byte, n)), int64(n))
		return err
	}
	a1, a2, b, c := of("a"), of("a"), of("b"), of("c")
	if err := large(a1, 30_000); err != nil {
		t.Fatal(err)
	}
	if err := large(a2, 30_000); codeOfError(err) != wire.CodeTooMany {
		t.Errorf("more than half for one: %v", err)
	}
	if err := large(b, 40_000); err != nil {
		t.Error(err)
	}
	if err := large(c, 40_000); codeOfError(err) != codeOverloaded {
		t.Errorf("more than there is: %v", err)
	}
	b.answered(1 << 20) // never refused
	if err := large(of("d"), 1); codeOfError(err) != codeOverloaded {
		t.Errorf("answers that nobody reads take no room: %v", err)
	}
	for _, l := range []*lease{a1, a2, b, c} {
		l.giveBack()
	}
}

// Batches wait for their turn, not for ever.
func TestBatchesTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := someRoom(1)
		var deciding []*lease
		for range cap(r.turns) {
			l := &lease{room: r}
			if err := l.decide(t.Context()); err != nil {
				t.Fatal(err)
			}
			deciding = append(deciding, l)
		}
		next := &lease{room: r}
		start := time.Now()
		if err := next.decide(t.Context()); codeOfError(err) != codeOverloaded || time.Since(start) != r.patience {
			t.Errorf("%v after %s", err, time.Since(start))
		}
		next.decided() // has none
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		if err := next.decide(gone); codeOfError(err) != wire.CodeCanceled {
			t.Error(err)
		}
		go func() {
			<-time.After(r.patience / 2)
			deciding[0].decided()
			deciding[0].decided() // once is enough
		}()
		if err := next.decide(t.Context()); err != nil {
			t.Error(err)
		}
		if len(r.turns) != cap(r.turns) {
			t.Errorf("%d of %d turns are taken", len(r.turns), cap(r.turns))
		}
	})
}
