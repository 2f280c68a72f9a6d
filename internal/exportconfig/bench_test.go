package exportconfig

import "testing"

func BenchmarkBuildProduction(b *testing.B) {
	p := shipped(b, "production")
	o := Options{LeaveOut: hashed(p.Charter())}
	for b.Loop() {
		if _, err := Build(b.Context(), p, question("edge-1", "node_operator"), o); err != nil {
			b.Fatal(err)
		}
	}
}
