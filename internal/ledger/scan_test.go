package ledger

import (
	"testing"
)

func BenchmarkParseEntry(b *testing.B) {
	e := denial()
	body, err := e.Body()
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(body)))
	for b.Loop() {
		if _, err := ParseEntry(body); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkScanBody(b *testing.B) {
	e := denial()
	e.Principal, e.RequestID = "p", "r"
	body, err := e.Body()
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, _, err := ScanBody(body); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkBody(b *testing.B) {
	e := denial()
	for b.Loop() {
		if _, err := e.Body(); err != nil {
			b.Fatal(err)
		}
	}
}

// What a log takes for a request when it appends is what a reader finds.
func TestRequestOfAnEntry(t *testing.T) {
	for _, kind := range []Kind{Denial, Conflict} {
		for _, principal := range []string{"", "cert:edge-1"} {
			for _, id := range []string{"", "k-\"1\""} {
				e := denial()
				e.Kind, e.Principal, e.RequestID = kind, principal, id
				body, err := e.Body()
				if err != nil {
					t.Fatal(err)
				}
				got, err := e.request(body)
				_, want, scanErr := ScanBody(body)
				if err != nil || scanErr != nil || got != want || (got == [32]byte{}) == (kind == Denial && principal != "" && id != "") {
					t.Errorf("%s of %q, id %q: %x, a reader finds %x; %v, %v", kind, principal, id, got, want, err, scanErr)
				}
			}
		}
	}
}
