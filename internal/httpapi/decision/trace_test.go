package decisionapi_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	decisionapi "github.com/westworld-charter/charter/internal/httpapi/decision"
)

// Without a tracer a request costs what it costs without a trace, and one with a
// parent only what it takes to read that.
func TestUntracedRequestsCostNothing(t *testing.T) {
	f := &fake{}
	h, err := decisionapi.New(decisionapi.Options{Decider: f, Reporter: f, InsecureSelfAsserted: true})
	if err != nil {
		t.Fatal(err)
	}
	measure := func(name, value string) float64 {
		return testing.AllocsPerRun(500, func() {
			r := httptest.NewRequest(http.MethodPost, "http://localhost/v1/check", strings.NewReader(question))
			r.RemoteAddr = "127.0.0.1:1"
			r.Header.Set(name, value)
			h.ServeHTTP(httptest.NewRecorder(), r)
		})
	}
	const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	plain, traced := measure("X-Something", parent), measure("Traceparent", parent)
	if traced > plain+8 {
		t.Errorf("%v allocations with a parent, %v without", traced, plain)
	}
}

// BenchmarkCheck is POST /v1/check without a network and without the decision.
func BenchmarkCheck(b *testing.B) {
	f := &fake{}
	h, err := decisionapi.New(decisionapi.Options{Decider: f, Reporter: f, InsecureSelfAsserted: true})
	if err != nil {
		b.Fatal(err)
	}
	for name, header := range map[string]string{"plain": "", "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				r := httptest.NewRequest(http.MethodPost, "http://localhost/v1/check", strings.NewReader(question))
				r.RemoteAddr = "127.0.0.1:1"
				if header != "" {
					r.Header.Set("Traceparent", header)
				}
				w := httptest.NewRecorder()
				h.ServeHTTP(w, r)
				if w.Code != http.StatusOK {
					b.Fatal(w.Body)
				}
			}
		})
	}
}
