package fleet

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// Whatever people, nodes, full disks and restarts do while the trust policy changes: what
// it does not trust reaches nobody and goes on by nobody, and no node is offered less than
// it had.
func TestTrustModel(t *testing.T) {
	root, round := t.TempDir(), 0
	rapid.Check(t, func(rt *rapid.T) {
		round++
		now, log, next, writes := time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC), &book{}, int64(1), -1
		has, distrusted, texts := map[string]int64{}, map[int64]bool{}, []string{}
		d := quick()
		write := d.write
		d.write = func(path string, data []byte) error {
			if writes--; writes == -1 {
				writes = 0
				return errors.New("no space left on device")
			}
			return write(path, data)
		}
		open := func() *Fleet {
			f, err := openOn(d, Options{Dir: fmt.Sprintf("%s/%d", root, round), Log: log, Now: func() time.Time { return now }})
			if err != nil {
				rt.Fatal(err)
			}
			return f
		}
		f, ctx, current := open(), context.Background(), true // current: the last verification did all it had to
		check := func(r Release) string {
			if distrusted[r.Sequence] {
				return "untrusted_key"
			}
			return ""
		}
		rollout := func() (Progress, bool) {
			if list := f.Rollouts(); len(list) > 0 {
				return list[0], true
			}
			return Progress{}, false
		}
		rt.Repeat(map[string]func(*rapid.T){
			"publish and begin": func(rt *rapid.T) {
				archive := []Release{signed(production, next, fmt.Sprint("text ", next))}
				if len(texts) > 0 {
					archive = append(archive, signed(production, next+1, texts[len(texts)-1]))
				}
				if _, err := f.Publish(ctx, "ana", archive); err != nil {
					rt.Fatal(err)
				}
				_, _ = f.Begin(ctx, "ana", production, next, Plan{Stages: []Stage{{Percent: 50}, {Percent: 100}}, Gates: DefaultGates()}) // or another is under way
				texts, next = append(texts, fmt.Sprint("text ", next)), next+2
			},
			"trust changes": func(rt *rapid.T) {
				for _, r := range f.Releases(production) {
					distrusted[r.Sequence] = rapid.IntRange(0, 2).Draw(rt, "distrusted") == 0
				}
				writes = rapid.IntRange(-1, 3).Draw(rt, "writes until the disk is full")
				err := f.Verify(ctx, check)
				current, writes = err == nil, -1
			},
			"verify": func(rt *rapid.T) {
				if err := f.Verify(ctx, check); err != nil {
					rt.Fatal(err)
				}
				current = true
			},
			"act": func(rt *rapid.T) {
				act := rapid.SampledFrom([]func(context.Context, string, string) (Rollout, error){f.Promote, f.Promote, f.Halt, f.RollBack}).Draw(rt, "act")
				_, _ = act(ctx, "ana", production)
			},
			"time": func(rt *rapid.T) {
				now = now.Add(time.Hour)
				before, _ := rollout()
				if err := f.look(ctx, production); err != nil && before.Sequence != 0 {
					rt.Fatal(err)
				}
				after, _ := rollout()
				moved := before.State == Running && (after.State == Done || after.Stage > before.Stage)
				if moved && current && distrusted[after.Sequence] {
					rt.Fatalf("%d goes on by itself, and nobody trusts it", after.Sequence)
				}
			},
			"poll": func(rt *rapid.T) {
				name := rapid.SampledFrom([]string{"", "edge-0", "edge-1", "edge-2"}).Draw(rt, "node")
				before, _ := rollout()
				r, _, _, ok := f.Offer(production, name)
				if !ok {
					return
				}
				if current && distrusted[r.Sequence] || string(r.Content.Statements) != fmt.Sprintf("statement %d\n", r.Sequence) {
					rt.Fatalf("%q is offered %d: %q", name, r.Sequence, r.Content.Statements)
				}
				if name != "" && r.Sequence < has[name] {
					rt.Fatalf("%s has %d and is offered %d", name, has[name], r.Sequence)
				}
				if r.Sequence == before.Sequence && has[name] < r.Sequence && before.State == Halted && name != "" {
					rt.Fatalf("%s is reached by what is halted", name)
				}
				has[name] = r.Sequence
			},
			"restart": func(*rapid.T) { f = open() },
			"": func(rt *rapid.T) {
				if p, any := rollout(); any && current && p.State == Running && distrusted[p.Sequence] {
					rt.Fatalf("%d is rolled out, and nobody trusts it", p.Sequence)
				}
			},
		})
	})
}
