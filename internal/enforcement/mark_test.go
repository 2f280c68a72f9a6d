package enforcement

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"
)

// With a mark a start knows what it would know without; one that does not fit is
// passed over.
func TestMark(t *testing.T) {
	path := filepath.Join(t.TempDir(), "mark")
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		again := func() {
			t.Helper()
			w.e = w.fresh()
			w.e.Mark = path
			if err := w.e.Recover(t.Context()); err != nil {
				t.Fatal(err)
			}
			w.expectRebuilt()
		}
		again()
		for _, pause := range []time.Duration{time.Minute, 2 * time.Hour, 5 * time.Minute} {
			stop := w.run()
			w.attempts("a", "b", "a")
			stop()
			again()
			if w.e.marked == 0 {
				t.Fatal("there is no mark")
			}
			pass(pause)
			w.attempts("a") // after the mark
			again()
			w.expectRebuilt()
		}
		good, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for name, text := range map[string][]byte{
			"empty": nil, "of no incident": bytes.Replace(good, []byte(`"v`), []byte(`"w`), 1), "of another ledger": bytes.Replace(good, []byte(`"leaf":"`), []byte(`"leaf":"0`), 1),
			"of another schema": bytes.Replace(good, []byte(`"schema":1`), []byte(`"schema":2`), 1), "ahead": bytes.Replace(good, []byte(`"next":`), []byte(`"next":9`), 1),
		} {
			if bytes.Equal(text, good) {
				t.Fatalf("%s: nothing was changed", name)
			}
			if err := os.WriteFile(path, text, 0o600); err != nil {
				t.Fatal(err)
			}
			if again(); w.e.marked != 0 {
				t.Errorf("%s: it was used", name)
			}
		}
	})
}
