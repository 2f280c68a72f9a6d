package mirror_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/westworld-charter/charter/internal/ledger"
	"github.com/westworld-charter/charter/internal/ledger/ledgertest"
	"github.com/westworld-charter/charter/internal/mirror"
)

// older is a server from before several extensions were one upload.
type older struct{ *near }

func (o older) Extend(ctx context.Context, u mirror.Upload) (mirror.Status, error) {
	if len(u.More) > 0 {
		return mirror.Status{}, &mirror.Error{Code: mirror.CodeInvalidUpload, Err: fmt.Errorf("unknown object member name %q", "more")}
	}
	st, err := o.near.Extend(ctx, u)
	st.Takes = 0
	return st, err
}

// A busy node far away catches up with few round trips, and with a server that takes one
// extension at a time all the same.
func TestSeveralCommitsAreOneUpload(t *testing.T) {
	const commits = 300
	for _, tt := range []struct {
		name string
		at   func(*near) mirror.Server
		most int
	}{
		{"several", func(n *near) mirror.Server { return n }, 5},
		{"one", func(n *near) mirror.Server { return older{n} }, commits + 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			signer := ledgertest.NewSigner(t)
			l := ledgertest.NewLog(t, nil, signer, nil)
			m := w.open(t)
			s := &near{t: t, m: m, node: "edge-1"}
			p := pusher(l, signer, tt.at(s))
			ledgertest.Append(t, l, commits)
			s.lose = true // the answer that says how many there may be, too
			if _, err := p.Push(t.Context()); err == nil {
				t.Error("a lost answer is no success")
			}
			if n := push(t, p); n != commits {
				t.Errorf("the server holds %d entries", n)
			}
			if tt.name == "one" && s.sent < commits || s.sent > tt.most {
				t.Errorf("%d uploads of %d commits, want at most %d", s.sent, commits, tt.most)
			}
			if err := m.Close(); err != nil {
				t.Fatal(err)
			}
			audit(t, w.dir+"/edge-1", commits)
		})
	}
}

// extensions are what a ledger has, one for each commit.
func extensions(t *testing.T, l *ledger.Log, from uint64) []ledger.Extension {
	t.Helper()
	var list []ledger.Extension
	for {
		x, err := l.Reader().Since(t.Context(), from)
		if err != nil {
			t.Fatal(err)
		}
		if len(x.Entries) == 0 {
			return list
		}
		list = append(list, x)
		from += uint64(len(x.Entries))
	}
}

// Of several extensions those before the first bad one are taken, each as a whole, and
// nothing that does not follow the one before.
func TestUploadOfSeveralIsChecked(t *testing.T) {
	w := newWorld(t)
	signer := ledgertest.NewSigner(t)
	l := ledgertest.NewLog(t, nil, signer, nil)
	ledgertest.Append(t, l, 4)
	m := w.open(t)
	defer m.Close() //nolint:errcheck // only read
	all := extensions(t, l, 0)
	if len(all) != 4 {
		t.Fatalf("%d commits", len(all))
	}
	upload := func(list ...ledger.Extension) mirror.Upload {
		return mirror.Upload{Key: signer.VerifierKey(), Extension: list[0], More: list[1:]}
	}
	size := func() uint64 {
		st, _ := m.Status("edge-1")
		return st.Size
	}
	empty := ledger.Extension{From: 1, Entries: ledger.Bodies{}, Checkpoint: all[0].Checkpoint}
	for name, u := range map[string]mirror.Upload{
		"a gap": upload(all[0], all[2]), "twice": upload(all[0], all[0]), "backwards": upload(all[1], all[0]), "an empty one": upload(all[0], empty, all[1]),
		"after an empty one": upload(ledger.Extension{Entries: ledger.Bodies{}, Checkpoint: all[0].Checkpoint}, all[0]),
	} {
		if _, err := m.Extend(t.Context(), "edge-1", u); code(t, err) != mirror.CodeInvalidUpload || size() != 0 {
			t.Errorf("%s: %v, %d entries are held", name, err, size())
		}
		wire, err := json.Marshal(u)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := mirror.ParseUpload(wire); code(t, err) != mirror.CodeInvalidUpload {
			t.Errorf("%s is read: %v", name, err)
		}
	}
	forged := all[2]
	forged.Entries = append(ledger.Bodies{}, all[3].Entries...)
	st, err := m.Extend(t.Context(), "edge-1", upload(all[0], all[1], forged, all[3]))
	if got := code(t, err); got != mirror.CodeDiverged && got != mirror.CodeInvalidUpload {
		t.Errorf("code %s", got)
	}
	if st.Size != 2 || st.Pinned.IsZero() {
		t.Errorf("after two good ones and a bad one: %+v", st)
	}
	if st, err := m.Extend(t.Context(), "edge-1", upload(all[2], all[3])); err != nil || st.Size != 4 || st.Takes != mirror.MaxExtensions || st.Fault != nil {
		t.Errorf("%+v, %v", st, err)
	}

	wire, err := json.Marshal(upload(all[0], all[1]))
	if err != nil {
		t.Fatal(err)
	}
	for name, bad := range map[string][]byte{
		"an unknown field": bytes.Replace(wire, []byte(`"more":[{"from"`), []byte(`"more":[{"x":1,"from"`), 1),
		"no list":          []byte(`{"key":"k","extension":{"from":0,"entries":[{}],"checkpoint":""},"more":{}}`),
		"too many":         []byte(`{"key":"k","extension":{"from":0,"entries":[{}],"checkpoint":""},"more":[` + strings.Repeat(`{},`, mirror.MaxExtensions) + `{}]}`),
		"too many entries": []byte(`{"key":"k","extension":{"from":0,"entries":[{}],"checkpoint":""},"more":[` +
			strings.Repeat(`{"from":1,"entries":[{}`+strings.Repeat(`,{}`, ledger.MaxExtensionEntries/2)+`],"checkpoint":""},`, 2) + `{}]}`),
	} {
		if _, err := mirror.ParseUpload(bad); code(t, err) != mirror.CodeInvalidUpload {
			t.Errorf("%s is read: %v", name, err)
		}
	}
}
