package signing_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/westworld-charter/charter/internal/release"
	"github.com/westworld-charter/charter/internal/signing/online"
	"github.com/westworld-charter/charter/internal/signing/signingtest"
)

// What a node pays for a release: two statements, and then as many as a hostile
// registry can attach.
func BenchmarkVerify(b *testing.B) {
	store := signingtest.New(b)
	key, public := newKey(b)
	eve, _ := newKey(b)
	identity, err := online.NewKeylessSigner(store.Services(ci))
	if err != nil {
		b.Fatal(err)
	}
	payload := statement(b, digest, release.PolicyType, policy(7))
	logged, err := identity.Sign(b.Context(), payload)
	if err != nil {
		b.Fatal(err)
	}
	byKey := header + "signers: [{name: ci, key: a.pub}]\nrequire: [" + release.PolicyType + "]\n"
	mine := signWith(b, key, payload)
	for _, bench := range []struct {
		name, trust string
		bundles     [][]byte
	}{
		{"key", byKey, [][]byte{mine}},
		{"identity", keyless + ignoreSCT, [][]byte{logged}},
		{"key, 199 of a stranger", byKey, append(slices.Repeat([][]byte{signWith(b, eve, payload)}, 199), mine)},
		{"identity, 199 of another", keyless + ignoreSCT, append(slices.Repeat([][]byte{mine}, 199), logged)},
	} {
		b.Run(bench.name, func(b *testing.B) {
			parsed := trust(b, bench.trust, files{"a.pub": public, "root.json": store.Root()})
			for b.Loop() {
				if _, err := parsed.Verify(b.Context(), digest, bench.bundles); err != nil {
					b.Fatal(fmt.Errorf("%s: %w", bench.name, err))
				}
			}
		})
	}
}
