package committee

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/westworld-charter/charter/internal/charter"
)

// Quorum by power and by heads; 0.1 and 0.2 are three tenths although no float is.
func TestQuorum(t *testing.T) {
	c := production(t)
	restore := vectors(t)[4].Request
	for _, tc := range []struct {
		name    string
		request Request
		seeds   []string
		code    string
		share   float64
		heads   int
	}{
		{"nobody", restore, nil, CodeNoQuorum, 0, 0},
		{"power without heads", restore, []string{"ben"}, CodeNoQuorum, 0.7, 1},
		{"exactly", restore, []string{"cow", "ana"}, "", 0.3, 2},
		{"all", restore, []string{"cow", "ana", "ben"}, "", 1, 3},
		{"a stranger helps nobody", restore, []string{"ben", "mallory"}, CodeNoQuorum, 0.7, 1},
		{"a stranger harms nobody", restore, []string{"ben", "ana", "mallory"}, "", 0.9, 2},
		{"an emergency needs more", override(t), []string{"cow", "ana"}, CodeNoQuorum, 0.3, 2},
		{"an emergency", override(t), []string{"cow", "ben"}, "", 0.8, 2},
	} {
		tally, err := Authorize(c, signedBy(t, tc.request, tc.seeds...), now())
		if code(err) != tc.code || tally.Met != (tc.code == "") || math.Abs(tally.Share-tc.share) > 1e-9 || tally.Heads != tc.heads {
			t.Errorf("%s: %v, %+v", tc.name, err, tally)
		}
		if len(tally.Signers)+len(tally.Missing) != len(c.Committee.Members) || len(tally.Addresses()) != tc.heads {
			t.Errorf("%s: somebody is nowhere: %+v", tc.name, tally)
		}
		counted := signedBy(t, tc.request, tc.seeds...).Counted(tally)
		if again, _ := Verify(c.Committee, counted, tally.Needed); again.Met != tally.Met || len(counted.Signatures) != tc.heads || len(again.Strangers) > 0 {
			t.Errorf("%s: without the others it is %+v", tc.name, again)
		}
	}
}

func TestVerifyRefuses(t *testing.T) {
	c := production(t).Committee
	restore := vectors(t)[4].Request
	good := func() Signed { return signedBy(t, restore, "ana", "ben") }
	for name, tc := range map[string]struct {
		code   string
		change func(c *charter.Committee, s *Signed) float64
	}{
		"another request": {CodeInvalidSignature, func(_ *charter.Committee, s *Signed) float64 { s.Request.Node = "edge-2"; return 0.3 }},
		"another nonce":   {CodeInvalidSignature, func(_ *charter.Committee, s *Signed) float64 { s.Request.Nonce = strings.Repeat("0", 32); return 0.3 }},
		"signatures swapped": {CodeInvalidSignature, func(_ *charter.Committee, s *Signed) float64 {
			s.Signatures[0].Signature, s.Signatures[1].Signature = s.Signatures[1].Signature, s.Signatures[0].Signature
			return 0.3
		}},
		"one signature under two names": {CodeInvalidSignature, func(c *charter.Committee, s *Signed) float64 {
			s.Signatures = append(s.Signatures, Signature{c.Members[0].Address, s.Signatures[0].Signature})
			return 0.3
		}},
		"twice": {CodeDuplicateSignature, func(_ *charter.Committee, s *Signed) float64 {
			s.Signatures = append(s.Signatures, Signature{strings.ToLower(s.Signatures[0].Address), s.Signatures[0].Signature})
			return 0.3
		}},
		"a wrong checksum": {CodeInvalidSignature, func(_ *charter.Committee, s *Signed) float64 {
			s.Signatures[0].Address = "0x" + strings.ToLower(s.Signatures[0].Address[2:22]) + strings.ToUpper(s.Signatures[0].Address[22:])
			return 0.3
		}},
		"no share":              {CodeNoQuorum, func(*charter.Committee, *Signed) float64 { return 0 }},
		"a share above all":     {CodeNoQuorum, func(*charter.Committee, *Signed) float64 { return 1.01 }},
		"a share below nothing": {CodeNoQuorum, func(*charter.Committee, *Signed) float64 { return -1 }},
		"a share of no number":  {CodeNoQuorum, func(*charter.Committee, *Signed) float64 { return math.NaN() }},
		"no committee":          {CodeNoQuorum, func(c *charter.Committee, _ *Signed) float64 { *c = charter.Committee{}; return 0.3 }},
		"no power": {CodeNoQuorum, func(c *charter.Committee, _ *Signed) float64 {
			for i := range c.Members {
				c.Members[i].Power = 0
			}
			return 0.3
		}},
		"power of no number": {CodeNoQuorum, func(c *charter.Committee, _ *Signed) float64 { c.Members[3].Power = math.NaN(); return 0.3 }},
		"power below 0":      {CodeNoQuorum, func(c *charter.Committee, _ *Signed) float64 { c.Members[3].Power = -5; return 0.3 }},
		"a member twice":     {CodeNoQuorum, func(c *charter.Committee, _ *Signed) float64 { c.Members[3].Address = c.Members[2].Address; return 0.3 }},
		"too many": {CodeInvalidRequest, func(_ *charter.Committee, s *Signed) float64 {
			s.Signatures = make([]Signature, MaxSignatures+1)
			return 0.3
		}},
		"no kind": {CodeInvalidRequest, func(_ *charter.Committee, s *Signed) float64 { s.Request.Kind = "dismiss"; return 0.3 }},
	} {
		altered, s := c, good()
		altered.Members = append([]charter.Member{}, c.Members...)
		tally, err := Verify(altered, s, tc.change(&altered, &s))
		if code(err) != tc.code || tally.Met {
			t.Errorf("%s: %v, %+v", name, err, tally)
		}
	}
	if _, err := Verify(c, good(), 0.3); err != nil {
		t.Errorf("nothing changed: %v", err)
	}
}

// Heads count although the charter forgot to say how many: never none.
func TestAtLeastOneHead(t *testing.T) {
	c := production(t).Committee
	c.Quorum.Heads = 0
	if tally, err := Verify(c, signedBy(t, vectors(t)[4].Request), 0.3); err == nil || tally.NeededHeads != 1 {
		t.Errorf("%+v, %v", tally, err)
	}
}

func TestCheck(t *testing.T) {
	for name, tc := range map[string]struct {
		code   string
		change func(c *charter.Charter, r *Request)
	}{
		"good":                      {"", func(*charter.Charter, *Request) {}},
		"another charter":           {CodeWrongCharter, func(c *charter.Charter, _ *Request) { c.Metadata.Name = "staging" }},
		"expired now":               {CodeExpiredRequest, func(_ *charter.Charter, r *Request) { r.Expires = now() }},
		"expires in a second":       {"", func(_ *charter.Charter, r *Request) { r.Expires = now().Add(time.Second) }},
		"expires in a week":         {"", func(_ *charter.Charter, r *Request) { r.Expires = now().Add(MaxLife) }},
		"expires later":             {CodeExpiresTooLate, func(_ *charter.Charter, r *Request) { r.Expires = now().Add(MaxLife + time.Second) }},
		"over":                      {CodeExpiredRequest, func(_ *charter.Charter, r *Request) { r.Until = now(); r.From = now().Add(-time.Hour) }},
		"longer than the charter's": {CodeNotOverridable, func(_ *charter.Charter, r *Request) { r.Until = r.Until.Add(time.Second) }},
		"no such clause":            {CodeUnknownClause, func(_ *charter.Charter, r *Request) { r.Clauses = []string{"net.latency", "net.other"} }},
		"forbidden":                 {CodeUnknownClause, func(_ *charter.Charter, r *Request) { r.Clauses = []string{"privacy.location"} }},
		"protected":                 {CodeProtectedClause, func(_ *charter.Charter, r *Request) { r.Clauses = []string{"net.latency", "net.guarded"} }},
		"retention not permitted":   {CodeNotOverridable, func(c *charter.Charter, _ *Request) { c.Emergency.May = []string{"purposes"} }},
		"purposes not permitted":    {CodeNotOverridable, func(c *charter.Charter, _ *Request) { c.Emergency.May = []string{"retention"} }},
		"only retention":            {"", func(c *charter.Charter, r *Request) { c.Emergency.May, r.Purposes = []string{"retention"}, nil }},
		"no such purpose":           {CodeNotOverridable, func(_ *charter.Charter, r *Request) { r.Purposes = []string{"spying"} }},
		"no emergency":              {CodeNotOverridable, func(c *charter.Charter, _ *Request) { c.Emergency = charter.Emergency{May: c.Emergency.May} }},
		"renew":                     {"", func(_ *charter.Charter, r *Request) { *r = renewal(t, now().Add(2*time.Hour)) }},
		"renew for longer":          {CodeNotOverridable, func(_ *charter.Charter, r *Request) { *r = renewal(t, now().Add(2*time.Hour+time.Second)) }},
		"renew until now":           {CodeExpiredRequest, func(_ *charter.Charter, r *Request) { *r = renewal(t, now()) }},
		"not as documented":         {CodeInvalidRequest, func(_ *charter.Charter, r *Request) { r.Nonce = "" }},
	} {
		c, r := production(t), override(t)
		tc.change(c, &r)
		if err := r.Check(c, now()); code(err) != tc.code {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := Authorize(c, Signed{Request: r}, now()); tc.code != "" && code(err) != tc.code {
			t.Errorf("%s: authorize: %v", name, err)
		}
	}
}

func renewal(t testing.TB, until time.Time) Request {
	r := vectors(t)[2].Request
	r.Until = until
	return r
}
