package committee

import (
	"encoding/hex"
	"io"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/westworld-charter/charter/internal/charter"
	"github.com/westworld-charter/charter/internal/ledger"
)

// Kinds of requests; the list is closed.
const (
	Override      = "override"       // loosen clauses for a short time
	Renew         = "renew"          // let an override last longer
	EndOverride   = "end-override"   // end it before its time
	Restore       = "restore"        // give a quarantined or suspended node its good standing back
	Revoke        = "revoke"         // end a node's data access
	EndRevocation = "end-revocation" // give it back
)

// MaxLife is how long before its end a request can have effect. For that time its
// nonce has to be remembered.
const MaxLife = 7 * 24 * time.Hour

// Limits of a request.
const (
	maxItems  = 256 // of a list
	maxNode   = 253 // bytes
	nonceSize = 16  // bytes
)

// Request is what members sign. Which fields a kind has is listed at [Kinds]; the
// others are empty. Times are whole seconds.
type Request struct {
	Kind    string `json:"kind"`
	Charter string `json:"charter"` // metadata.name of the charter it is for
	// Override is the id of the override to be renewed or ended.
	Override string `json:"override,omitempty"`
	Node     string `json:"node,omitempty"`
	// Clauses are ids of the clauses to be loosened.
	Clauses []string `json:"clauses,omitempty"`
	// Nodes are those for which they are, none for all.
	Nodes     []string `json:"nodes,omitempty"`
	Retention string   `json:"retention,omitempty"` // such as 60d
	Purposes  []string `json:"purposes,omitempty"`
	// Reason is a code or a ticket, never prose: requests are kept for good. That of
	// a revocation is one of [ledger.RevocationReasons].
	Reason string    `json:"reason"`
	From   time.Time `json:"from,omitzero"`
	Until  time.Time `json:"until,omitzero"` // exclusive
	// Nonce is 32 hexadecimal digits that no other request has; see [NewNonce].
	Nonce string `json:"nonce"`
	// Expires is when the request can no longer have effect. What it brought about
	// is not ended by that.
	Expires time.Time `json:"expires"`
}

// kind says which fields a kind of request has besides charter, reason, nonce and
// expires, and what wallets call it.
type kind struct {
	name, primary string
	fields        []string
	optional      []string // of these
}

func kinds() []kind {
	return []kind{
		{Override, "Override", []string{"clauses", "nodes", "retention", "purposes", "from", "until"}, []string{"nodes", "retention", "purposes"}},
		{Renew, "RenewOverride", []string{"override", "until"}, nil},
		{EndOverride, "EndOverride", []string{"override"}, nil},
		{Restore, "RestoreNode", []string{"node"}, nil},
		{Revoke, "RevokeAccess", []string{"node"}, nil},
		{EndRevocation, "EndRevocation", []string{"node"}, nil},
	}
}

// Kinds returns the closed list of kinds. All requests have kind, charter, reason,
// nonce and expires; besides these
//
//	override                        clauses, from, until, and of nodes, retention and purposes what it needs
//	renew                           override, until
//	end-override                    override
//	restore, revoke, end-revocation node
func Kinds() []string {
	var names []string
	for _, k := range kinds() {
		names = append(names, k.name)
	}
	return names
}

func kindOf(name string) (kind, bool) {
	all := kinds()
	i := slices.IndexFunc(all, func(k kind) bool { return k.name == name })
	if i < 0 {
		return kind{}, false
	}
	return all[i], true
}

func (k kind) has(field string) bool {
	return slices.Contains([]string{"charter", "reason", "nonce", "expires"}, field) || slices.Contains(k.fields, field)
}

// NewNonce reads a nonce from random, which must be a cryptographic source.
func NewNonce(random io.Reader) (string, error) {
	var b [nonceSize]byte
	if _, err := io.ReadFull(random, b[:]); err != nil {
		return "", err
	}
	return hex.EncodeToString(b[:]), nil
}

// field is one of a request as EIP-712 has it: a string or a string[].
type field struct {
	name string
	text string
	list []string
	many bool
}

func (f field) empty() bool { return f.text == "" && len(f.list) == 0 }

// fields returns all there are, in the order in which they are signed.
func (r *Request) fields() []field {
	return []field{
		{name: "charter", text: r.Charter},
		{name: "override", text: r.Override},
		{name: "node", text: r.Node},
		{name: "clauses", list: r.Clauses, many: true},
		{name: "nodes", list: r.Nodes, many: true},
		{name: "retention", text: r.Retention},
		{name: "purposes", list: r.Purposes, many: true},
		{name: "reason", text: r.Reason},
		{name: "from", text: instant(r.From)},
		{name: "until", text: instant(r.Until)},
		{name: "nonce", text: r.Nonce},
		{name: "expires", text: instant(r.Expires)},
	}
}

// instant is how a time is signed: legible in a wallet, and one text for one time.
func instant(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02T15:04:05Z")
}

// message returns what is signed: the name of its type and its fields. It refuses a
// request that is not as documented, so nothing else can be hashed or signed.
func (r *Request) message() (primary string, fields []field, err error) {
	k, ok := kindOf(r.Kind)
	if !ok {
		return "", nil, wrong("kind: %.40q is none of %s", r.Kind, strings.Join(Kinds(), ", "))
	}
	for _, f := range r.fields() {
		switch {
		case !k.has(f.name) && !f.empty():
			return "", nil, wrong("%s: a request of kind %s does not have it", f.name, k.name)
		case !k.has(f.name):
			continue
		case f.empty() && !slices.Contains(k.optional, f.name):
			return "", nil, wrong("%s: it is missing", f.name)
		}
		if err := f.check(); err != nil {
			return "", nil, err
		}
		fields = append(fields, f)
	}
	return k.primary, fields, r.consistent()
}

// check looks at the form of a field.
func (f field) check() error {
	if len(f.list) > maxItems {
		return wrong("%s: it has more than %d items", f.name, maxItems)
	}
	good, help := shape(f.name)
	if f.text != "" && !good(f.text) {
		return wrong("%s: %.80q is not %s", f.name, f.text, help)
	}
	for i, text := range f.list {
		if !good(text) {
			return wrong("%s: %.80q is not %s", f.name, text, help)
		}
		if slices.Contains(f.list[:i], text) {
			return wrong("%s: %q is there twice", f.name, text)
		}
	}
	return nil
}

// shape is the form of a field. All but the names of nodes are of ASCII alone, so
// that nothing looks like something else to those who sign.
func shape(name string) (good func(string) bool, help string) {
	switch name {
	case "charter", "purposes":
		return nameShape.MatchString, "a name of lower-case letters, digits, - and _"
	case "clauses":
		return clauseShape.MatchString, "the id of a clause"
	case "override":
		return overrideShape.MatchString, "the id of an override"
	case "node":
		return nodeName, "the name of a node"
	case "nodes":
		return exactNode, "the exact name of a node; no pattern counts here"
	case "retention":
		return retentionShape.MatchString, "a duration such as 60d"
	case "reason":
		return reasonShape.MatchString, "a code or ticket such as OPS-12, without spaces"
	case "nonce":
		return nonceShape.MatchString, "32 lower-case hexadecimal digits"
	default: // from, until, expires
		return timeShape.MatchString, "a time between 1970 and 2261"
	}
}

var (
	nameShape      = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,63}$`)
	clauseShape    = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,127}$`)
	overrideShape  = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$`)
	retentionShape = regexp.MustCompile(`^[0-9]{1,10}[smhdwy]$`)
	reasonShape    = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:/#-]{0,63}$`)
	nonceShape     = regexp.MustCompile(`^[0-9a-f]{32}$`)
	timeShape      = regexp.MustCompile(`^(19[7-9][0-9]|2[01][0-9]{2}|22[0-5][0-9]|226[01])-[0-9T:Z-]+$`)
)

// nodeName takes what the certificate of a node can call it: printable text that
// neither begins nor ends with a space, of at most 253 bytes. Marks that change the
// direction of writing are not printable.
func nodeName(text string) bool {
	return text != "" && len(text) <= maxNode && utf8.ValidString(text) && strings.TrimSpace(text) == text &&
		!strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) || r == utf8.RuneError })
}

func exactNode(text string) bool { return nodeName(text) && !strings.Contains(text, "*") }

// consistent looks at fields together.
func (r *Request) consistent() error {
	for _, t := range []struct {
		name string
		time time.Time
	}{{"from", r.From}, {"until", r.Until}, {"expires", r.Expires}} {
		if t.time.Nanosecond() != 0 {
			return wrong("%s: it is not a whole second", t.name)
		}
	}
	switch r.Kind {
	case Override:
		if r.Retention == "" && len(r.Purposes) == 0 {
			return wrong("an override loosens retention or purposes, and this one neither")
		}
		if r.Retention != "" {
			if _, err := charter.ParseDuration(r.Retention); err != nil {
				return wrong("retention: %v", err)
			}
		}
		if !r.From.Before(r.Until) {
			return wrong("until: it is not after from")
		}
		if r.From.After(r.Expires) {
			return wrong("from: it is after expires; an override begins while its request is good")
		}
	case Revoke:
		if reasons := ledger.RevocationReasons(); !slices.Contains(reasons, r.Reason) {
			return wrong("reason: that of a revocation is one of %s", strings.Join(reasons, ", "))
		}
	}
	return nil
}
