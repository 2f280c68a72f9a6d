// Package committeetest has the people of a committee for tests: [Keys] are theirs, and
// with [Sign] they ask for something.
package committeetest

import (
	"crypto/rand"
	"time"

	"github.com/westworld-charter/charter/internal/committee"
)

// TB is what is needed of a test, of a property test as well.
type TB interface {
	Helper()
	Fatal(args ...any)
}

// Keys are those of n people.
func Keys(t TB, n int) []*committee.Key {
	t.Helper()
	all := make([]*committee.Key, n)
	for i := range all {
		key, err := committee.GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		all[i] = key
	}
	return all
}

// Sign has people sign a request. Where it says nothing of them it has a nonce of its own,
// a reason, and an hour from now to come in.
func Sign(t TB, now time.Time, r committee.Request, people ...*committee.Key) committee.Signed {
	t.Helper()
	if r.Nonce == "" {
		nonce, err := committee.NewNonce(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		r.Nonce = nonce
	}
	if r.Reason == "" {
		r.Reason = "OPS-1"
	}
	if r.Expires.IsZero() {
		r.Expires = now.Add(time.Hour).Truncate(time.Second)
	}
	s := committee.Signed{Request: r}
	for _, key := range people {
		signature, err := key.Sign(r)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Add(signature); err != nil {
			t.Fatal(err)
		}
	}
	return s
}
