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
