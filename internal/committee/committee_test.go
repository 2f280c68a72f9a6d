package committee

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/westworld-charter/charter/internal/charter"
)

type vector struct {
	Seed      string  `json:"seed"`
	Address   string  `json:"address"`
	Request   Request `json:"request"`
	Digest    string  `json:"digest"`
	Signature string  `json:"signature"`
}

// vectors were made by go-ethereum; tests/ethereum writes and checks them.
func vectors(t testing.TB) []vector {
	t.Helper()
	data, err := os.ReadFile("testdata/vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var file struct{ Vectors []vector }
	if err := json.Unmarshal(data, &file); err != nil || len(file.Vectors) < len(Kinds()) {
		t.Fatalf("%d vectors, %v", len(file.Vectors), err)
	}
	return file.Vectors
}

func seeded(t testing.TB, seed string) *Key {
	t.Helper()
	secret := keccak([]byte(seed))
	key, err := newKey(secret[:])
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func TestVectors(t *testing.T) {
	kinds := map[string]bool{}
	for _, v := range vectors(t) {
		kinds[v.Request.Kind] = true
		digest, err := v.Request.Digest()
		if err != nil || "0x"+hex.EncodeToString(digest[:]) != v.Digest {
			t.Errorf("%s: digest %x, %v, not %s", v.Request.Kind, digest, err, v.Digest)
		}
		sig, err := seeded(t, v.Seed).Sign(v.Request)
		if err != nil || sig.Address != v.Address || sig.Signature != v.Signature {
			t.Errorf("%s: %+v, %v", v.Request.Kind, sig, err)
		}
		if maker, err := Recover(digest, v.Signature); err != nil || maker.String() != v.Address {
			t.Errorf("%s: made by %s, %v", v.Request.Kind, maker, err)
		}
	}
	if len(kinds) != len(Kinds()) {
		t.Errorf("there are vectors of %v alone", kinds)
	}
}

// The examples of EIP-55.
func TestAddresses(t *testing.T) {
	for _, text := range []string{
		"0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed", "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359",
		"0xdbF03B407c01E7cD3CBea99509d93f8DDDC8C6FB", "0xD1220A0cf47c7B9Be7A2E6BA89F429762e7b9aDb",
		"0x52908400098527886E0F7030069857D2E4169EE7", "0xde709f2102306220921060314715629080e2fb77",
	} {
		a, err := ParseAddress(text)
		if err != nil || a.String() != text {
			t.Errorf("%s: %s, %v", text, a, err)
		}
		if same, err := ParseAddress(strings.ToLower(text)); err != nil || same != a {
			t.Errorf("%s in lower case: %v", text, err)
		}
	}
	for _, text := range []string{
		"", "0x", "5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed", "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAe", "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed0",
		"0x5AAeb6053F3E94C9b9A09f33669435E7Ef1BeAed", "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAee", "0xzzAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
	} {
		if _, err := ParseAddress(text); err == nil {
			t.Errorf("%q passed", text)
		}
	}
}

// A signature has one form only; every other text of it is refused.
func TestSignatureForms(t *testing.T) {
	v := vectors(t)[0]
	digest, _ := v.Request.Digest()
	raw, _ := hex.DecodeString(v.Signature[2:])
	form := func(change func(b []byte) []byte) string {
		return "0x" + hex.EncodeToString(change(append([]byte{}, raw...)))
	}
	other := form(func(b []byte) []byte { b[64] -= 27; return b })
	if maker, err := Recover(digest, other); err != nil || maker.String() != v.Address {
		t.Errorf("v of 0 or 1: %s, %v", maker, err)
	}
	for name, text := range map[string]string{
		"high s":         form(highS),
		"short":          form(func(b []byte) []byte { return b[:64] }),
		"long":           form(func(b []byte) []byte { return append(b, 0) }),
		"compact":        form(func(b []byte) []byte { return append(b[64:], b[:64]...) }),
		"v of a chain":   form(func(b []byte) []byte { b[64] += 10; return b }),
		"v of 29":        form(func(b []byte) []byte { b[64] = 29; return b }),
		"r of 0":         form(func(b []byte) []byte { clear(b[:32]); return b }),
		"s of 0":         form(func(b []byte) []byte { clear(b[32:64]); return b }),
		"s of the order": form(func(b []byte) []byte { copy(b[32:], order()); return b }),
		"r of the order": form(func(b []byte) []byte { copy(b, order()); return b }),
		"no 0x":          v.Signature[2:],
		"no digits":      "0x" + strings.Repeat("zz", 65),
		"empty":          "",
	} {
		if maker, err := Recover(digest, text); err == nil {
			t.Errorf("%s: it is one of %s", name, maker)
		}
	}
	for i := range 64 { // a flipped bit is no longer a signature of the member
		text := form(func(b []byte) []byte { b[i] ^= 1; return b })
		if maker, err := Recover(digest, text); err == nil && maker.String() == v.Address {
			t.Errorf("byte %d does not matter", i)
		}
	}
}

func order() []byte {
	n, _ := hex.DecodeString("fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141")
	return n
}

// highS is the other signature that anybody can make of one.
func highS(b []byte) []byte {
	n, borrow := order(), 0
	for i := 31; i >= 0; i-- {
		d := int(n[i]) - int(b[32+i]) - borrow
		borrow = 0
		if d < 0 {
			d, borrow = d+256, 1
		}
		b[32+i] = byte(d)
	}
	b[64] = 27 + 28 - b[64]
	return b
}

func TestHighSIsACopy(t *testing.T) {
	v := vectors(t)[0]
	digest, _ := v.Request.Digest()
	raw, _ := hex.DecodeString(v.Signature[2:])
	_, err := Recover(digest, "0x"+hex.EncodeToString(highS(raw)))
	if err == nil || !strings.Contains(err.Error(), "lower half") {
		t.Errorf("a copy with a high s: %v", err)
	}
}

// Any change of any field is another digest, and no kind passes for another.
func TestEveryFieldIsSigned(t *testing.T) {
	seen := map[[32]byte]string{}
	note := func(what string, r Request) {
		digest, err := r.Digest()
		if err != nil {
			t.Errorf("%s: %v", what, err)
			return
		}
		if before, twice := seen[digest]; twice {
			t.Errorf("%s has the digest of %s", what, before)
		}
		seen[digest] = what
	}
	for i, v := range vectors(t) {
		base := v.Request
		if i == 1 {
			continue
		}
		note(base.Kind, base)
		changes := map[string]func(r *Request){
			"charter": func(r *Request) { r.Charter = "staging" }, "nonce": func(r *Request) { r.Nonce = strings.Repeat("f", 32) },
			"expires": func(r *Request) { r.Expires = r.Expires.Add(time.Second) },
		}
		if base.Kind != Revoke {
			changes["reason"] = func(r *Request) { r.Reason = "X" }
		}
		if base.Node != "" {
			changes["node"] = func(r *Request) { r.Node = "edge-2" }
		}
		if base.Override != "" {
			changes["override"] = func(r *Request) { r.Override = "o-2" }
		}
		if !base.Until.IsZero() {
			changes["until"] = func(r *Request) { r.Until = r.Until.Add(time.Second) }
		}
		if base.Kind == Override {
			changes["from"] = func(r *Request) { r.From = r.From.Add(time.Second) }
			changes["clauses"] = func(r *Request) { r.Clauses = r.Clauses[:1] }
			changes["clauses and nodes"] = func(r *Request) { r.Clauses, r.Nodes = r.Clauses[:1], append(r.Nodes, r.Clauses[1]) }
			changes["no nodes"] = func(r *Request) { r.Nodes = nil }
			changes["retention"] = func(r *Request) { r.Retention = "61d" }
			changes["purposes"] = func(r *Request) { r.Purposes = nil }
		}
		for name, change := range changes {
			r := base
			change(&r)
			note(base.Kind+" with another "+name, r)
		}
	}
}

func production(t testing.TB) *charter.Charter {
	t.Helper()
	c, findings := charter.Load("testdata/charter.yaml")
	if c == nil {
		t.Fatal(findings)
	}
	return c
}

func now() time.Time { return time.Date(2026, 6, 1, 0, 30, 0, 0, time.UTC) }

func code(err error) string {
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	if err != nil {
		return err.Error()
	}
	return ""
}

func override(t testing.TB) Request {
	r := vectors(t)[0].Request
	return r
}

func signedBy(t testing.TB, r Request, seeds ...string) Signed {
	t.Helper()
	s := Signed{Request: r}
	for _, seed := range seeds {
		sig, err := seeded(t, seed).Sign(r)
		if err != nil {
			t.Fatal(err)
		}
		if added, err := s.Add(sig); err != nil || !added {
			t.Fatal(added, err)
		}
	}
	return s
}
