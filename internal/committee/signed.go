package committee

import (
	"fmt"
	"slices"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Limits of a document with a request and its signatures.
const (
	MaxDocument   = 512 << 10 // bytes
	MaxSignatures = 1000      // as many as members that a quorum can ask for
)

// Signed is a request with signatures. Each is over the request alone.
type Signed struct {
	Request    Request     `json:"request"`
	Signatures []Signature `json:"signatures"`
}

// Decode reads a request with signatures from JSON of at most [MaxDocument] bytes.
// Unknown and repeated names are refused; times come back in UTC. The request is as
// documented and the signatures have the right form and different addresses; whether
// they are good is for [Verify].
func Decode(data []byte) (Signed, error) {
	var s Signed
	if len(data) > MaxDocument {
		return s, wrong("the request is larger than %d bytes", MaxDocument)
	}
	if err := json.Unmarshal(data, &s, json.RejectUnknownMembers(true)); err != nil {
		return Signed{}, wrong("decode request: %.300s", err.Error())
	}
	s.normalize()
	if _, _, err := s.Request.message(); err != nil {
		return Signed{}, err
	}
	if _, err := s.addresses(); err != nil {
		return Signed{}, err
	}
	return s, nil
}

// normalize gives one value to what is signed alike: times of any zone, lists that
// are absent or empty.
func (s *Signed) normalize() {
	r := &s.Request
	r.From, r.Until, r.Expires = r.From.UTC(), r.Until.UTC(), r.Expires.UTC()
	for _, list := range []*[]string{&r.Clauses, &r.Nodes, &r.Purposes} {
		if len(*list) == 0 {
			*list = nil
		}
	}
	if len(s.Signatures) == 0 {
		s.Signatures = nil
	}
}

// Encode is the compact JSON that [Decode] reads; one text for one value.
func (s Signed) Encode() ([]byte, error) { return s.encode() }

// Indented is [Signed.Encode] for people, with a line end.
func (s Signed) Indented() ([]byte, error) {
	data, err := s.encode(jsontext.WithIndent("  "))
	return append(data, '\n'), err
}

func (s Signed) encode(options ...json.Options) ([]byte, error) {
	if _, _, err := s.Request.message(); err != nil {
		return nil, err
	}
	s.normalize()
	data, err := json.Marshal(s, append(options, json.Deterministic(true))...)
	if err != nil {
		return nil, fmt.Errorf("encode request: %w", err)
	}
	return data, nil
}

// addresses reads those of the signatures and refuses one that is there twice.
func (s *Signed) addresses() ([]Address, error) {
	if len(s.Signatures) > MaxSignatures {
		return nil, wrong("signatures: there are more than %d", MaxSignatures)
	}
	all := make([]Address, len(s.Signatures))
	seen := make(map[Address]bool, len(all))
	for i, sig := range s.Signatures {
		a, err := ParseAddress(sig.Address)
		if err != nil {
			return nil, refuse(CodeInvalidSignature, "signatures[%d]: %v", i, err)
		}
		if _, err := parseSignature(sig.Signature); err != nil {
			return nil, refuse(CodeInvalidSignature, "signatures[%d] of %s: %v", i, a, err)
		}
		if seen[a] {
			return nil, refuse(CodeDuplicateSignature, "signatures[%d]: %s signed twice; keep one of the two", i, a)
		}
		seen[a], all[i] = true, a
	}
	return all, nil
}

// Add puts a signature to the others, in the order of addresses. It reports false
// when its address has signed already. The signature must be good.
func (s *Signed) Add(sig Signature) (bool, error) {
	digest, err := s.Request.Digest()
	if err != nil {
		return false, err
	}
	all, err := s.addresses()
	if err != nil {
		return false, err
	}
	maker, err := Recover(digest, sig.Signature)
	if err != nil {
		return false, refuse(CodeInvalidSignature, "signature: %v", err)
	}
	if claimed, err := ParseAddress(sig.Address); err != nil || claimed != maker {
		return false, refuse(CodeInvalidSignature, "signature: it was made by %s over this request, not by %s", maker, sig.Address)
	}
	if slices.Contains(all, maker) {
		return false, nil
	}
	at, _ := slices.BinarySearchFunc(all, maker, func(a, b Address) int { return slices.Compare(a[:], b[:]) })
	s.Signatures = slices.Insert(s.Signatures, at, Signature{maker.String(), sig.Signature})
	return true, nil
}
