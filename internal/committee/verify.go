package committee

import (
	"encoding/hex"
	"math"
	"math/big"
	"slices"
	"strconv"
	"time"

	"github.com/westworld-charter/charter/internal/charter"
)

// Vote is a member with what the member weighs.
type Vote struct {
	Member  string  `json:"member"` // id in the charter
	Address string  `json:"address"`
	Power   float64 `json:"power"`
}

// Tally is what the signatures of a request amount to.
type Tally struct {
	Digest  string `json:"digest"`  // 0x and 64 hexadecimal digits: what was signed
	Signers []Vote `json:"signers"` // in the order of the charter
	Missing []Vote `json:"missing"` // members that have not signed
	// Strangers are addresses that signed and are of no member. They count for
	// nothing and are not looked into.
	Strangers   []string `json:"strangers,omitempty"`
	Share       float64  `json:"share"`  // of all power, rounded for people
	Needed      float64  `json:"needed"` // share
	Heads       int      `json:"heads"`
	NeededHeads int      `json:"needed_heads"`
	Met         bool     `json:"met"`
}

// Addresses returns those of the signers.
func (t Tally) Addresses() []string {
	list := make([]string, len(t.Signers))
	for i, v := range t.Signers {
		list[i] = v.Address
	}
	return list
}

// Authorize says whether the charter lets the request have effect at that time: it is
// [Request.Check] and [Verify] with the share that [Share] asks for. An error is an
// [*Error]. That the request has no effect twice is for the caller to see to.
func Authorize(c *charter.Charter, s Signed, now time.Time) (Tally, error) {
	if err := s.Request.Check(c, now); err != nil {
		return Tally{}, err
	}
	return Verify(c.Committee, s, Share(c, s.Request.Kind))
}

// Share is the share of power that a kind of request needs: that of emergencies to
// loosen something, that of the committee's quorum for all else. 0 when the charter
// does not say, which nothing meets.
func Share(c *charter.Charter, kind string) float64 {
	if kind == Override || kind == Renew {
		return c.Emergency.Quorum
	}
	return c.Committee.Quorum.Power
}

// Verify counts the signatures of a request: different members of the committee, each
// with a good signature. Below that share of all power, or below the heads of the
// committee's quorum, the error has the code no_quorum, and the tally tells what is
// missing. A bad signature under the address of a member makes the whole request bad:
// somebody changed it after it was signed, or never signed it.
func Verify(c charter.Committee, s Signed, share float64) (Tally, error) {
	digest, err := s.Request.Digest()
	if err != nil {
		return Tally{}, err
	}
	t := Tally{
		Digest: "0x" + hex.EncodeToString(digest[:]), Signers: []Vote{}, Missing: []Vote{},
		Needed: share, NeededHeads: max(1, c.Quorum.Heads),
	}
	all, err := s.addresses()
	if err != nil {
		return t, err
	}
	signatures := make(map[Address]string, len(all))
	for i, a := range all {
		signatures[a] = s.Signatures[i].Signature
	}
	signed, total := new(big.Rat), new(big.Rat)
	members := make(map[Address]bool, len(c.Members))
	for _, m := range c.Members {
		power, ok := decimal(m.Power)
		a, err := looseAddress(m.Address)
		if !ok || err != nil || members[a] {
			return t, refuse(CodeNoQuorum, "the committee cannot decide: member %q has no power or address of their own", m.ID)
		}
		members[a] = true
		total.Add(total, power)
		vote := Vote{m.ID, a.String(), m.Power}
		signature, ok := signatures[a]
		if !ok {
			t.Missing = append(t.Missing, vote)
			continue
		}
		if err := madeBy(a, digest, signature); err != nil {
			return t, err
		}
		signed.Add(signed, power)
		t.Signers, t.Heads = append(t.Signers, vote), t.Heads+1
	}
	for _, a := range all {
		if !members[a] {
			t.Strangers = append(t.Strangers, a.String())
		}
	}
	t.Met = t.count(signed, total, share)
	if !t.Met {
		return t, t.missing()
	}
	return t, nil
}

func madeBy(a Address, digest [32]byte, signature string) error {
	maker, err := Recover(digest, signature)
	if err != nil {
		return refuse(CodeInvalidSignature, "the signature of %s: %v", a, err)
	}
	if maker != a {
		return refuse(CodeInvalidSignature, "the signature of %s is not of that key over this request; it was made with another key, or the request was changed afterwards", a)
	}
	return nil
}

// count sets the share and reports whether it and the heads suffice. Nothing meets a
// share that is not above 0.
func (t *Tally) count(signed, total *big.Rat, share float64) bool {
	needed, ok := decimal(share)
	if total.Sign() <= 0 || !ok || needed.Sign() <= 0 || needed.Cmp(big.NewRat(1, 1)) > 0 {
		return false
	}
	t.Share, _ = new(big.Rat).Quo(signed, total).Float64()
	return signed.Cmp(needed.Mul(needed, total)) >= 0 && t.Heads >= t.NeededHeads
}

func (t *Tally) missing() error {
	return refuse(CodeNoQuorum, "%d of %d members signed, with %.4g of the power; it takes %d and %.4g",
		t.Heads, t.Heads+len(t.Missing), t.Share, t.NeededHeads, t.Needed)
}

// decimal is the number as it is written in a charter: 0.1 is one tenth.
func decimal(v float64) (*big.Rat, bool) {
	if math.IsNaN(v) || math.IsInf(v, 0) || v < 0 {
		return nil, false
	}
	return new(big.Rat).SetString(strconv.FormatFloat(v, 'f', -1, 64))
}

// Counted is the request with the signatures that the tally counted alone, which is
// what is worth keeping: anybody can add signatures of others.
func (s Signed) Counted(t Tally) Signed {
	counted := Signed{Request: s.Request}
	for _, sig := range s.Signatures {
		a, err := ParseAddress(sig.Address)
		if err == nil && slices.Contains(t.Addresses(), a.String()) {
			counted.Signatures = append(counted.Signatures, sig)
		}
	}
	return counted
}
