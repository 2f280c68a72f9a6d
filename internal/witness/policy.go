package witness

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"

	"golang.org/x/mod/sumdb/note"
)

// Limits of a policy file; the specification asks for 32 of each at least.
const (
	maxPolicy      = 1 << 20 // bytes
	maxPolicyLines = 1024    // that define something
)

// Policy says which logs and witnesses are known, and which cosignatures make a
// checkpoint valid (C2SP tlog-policy).
type Policy struct {
	Logs      []KnownLog
	Witnesses []KnownWitness

	nodes  map[string]node // witnesses and groups by name
	quorum string          // "" needs nobody
}

// KnownLog is a log line.
type KnownLog struct {
	Verifier note.Verifier // its name is the origin
	URL      string        // "" when not given
}

// KnownWitness is a witness line. Name means something in the policy alone.
type KnownWitness struct {
	Name     string
	Verifier *Verifier
	URL      string // the submission prefix without a final slash; "" when not given
}

// node is a witness, or a group of which need members have to witness.
type node struct {
	witness bool
	need    int
	members []string
}

// PolicyError is a line of a policy file that is wrong.
type PolicyError struct {
	Line    int // from 1; 0 is the file as a whole
	Message string
}

// Error names the line.
func (e *PolicyError) Error() string {
	if e.Line == 0 {
		return e.Message
	}
	return fmt.Sprintf("line %d: %s", e.Line, e.Message)
}

// ReadPolicy reads a policy file. Errors name file and line.
func ReadPolicy(path string) (*Policy, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read witness policy: %w", err)
	}
	p, err := ParsePolicy(data)
	if err != nil {
		return nil, fmt.Errorf("read witness policy %s: %w", path, err)
	}
	return p, nil
}

// ParsePolicy reads a policy; what is wrong is a [*PolicyError].
func ParsePolicy(data []byte) (*Policy, error) {
	switch {
	case len(data) > maxPolicy:
		return nil, &PolicyError{0, fmt.Sprintf("the file is larger than %d bytes", maxPolicy)}
	case len(data) > 0 && data[len(data)-1] != '\n':
		return nil, &PolicyError{0, "the last line does not end in a newline: the file may have been cut off"}
	}
	r := policyReader{Policy: &Policy{nodes: map[string]node{}}, member: map[string]bool{}, keys: map[string]bool{}}
	number := 0
	for line := range bytes.Lines(data) {
		number++
		if err := r.line(string(line[:len(line)-1])); err != nil {
			return nil, &PolicyError{number, err.Error()}
		}
	}
	if !r.decided {
		return nil, &PolicyError{0, `there is no quorum line; "quorum none" asks for no cosignatures`}
	}
	return r.Policy, nil
}

// policyReader is what a policy is read into.
type policyReader struct {
	*Policy
	decided bool
	lines   int
	member  map[string]bool // names that a group lists already
	keys    map[string]bool // that a log or a witness has already
}

func (r *policyReader) line(line string) error {
	if strings.ContainsFunc(line, func(c rune) bool { return c < ' ' && c != '\t' || c == 0x7f }) {
		return errors.New("there is a control character other than tab")
	}
	words := strings.FieldsFunc(line, func(c rune) bool { return c == ' ' || c == '\t' })
	if len(words) == 0 || strings.HasPrefix(words[0], "#") {
		return nil
	}
	if r.lines++; r.lines > maxPolicyLines {
		return fmt.Errorf("there are more than %d definitions", maxPolicyLines)
	}
	switch words[0] {
	case "log":
		return r.log(words[1:])
	case "witness":
		return r.witness(words[1:])
	case "group":
		return r.group(words[1:])
	case "quorum":
		return r.decide(words[1:])
	default:
		return fmt.Errorf("unknown word %.100q; log, witness, group and quorum are known", words[0])
	}
}

func (r *policyReader) log(words []string) error {
	if len(words) < 1 || len(words) > 2 {
		return errors.New("a log line is: log VKEY [URL]")
	}
	v, err := note.NewVerifier(words[0])
	if err != nil {
		return fmt.Errorf("the key of the log: %w", err)
	}
	if err := r.once("log ", words[0]); err != nil {
		return err
	}
	known := KnownLog{Verifier: v}
	if len(words) == 2 {
		known.URL = words[1]
	}
	r.Logs = append(r.Logs, known)
	return nil
}

func (r *policyReader) witness(words []string) error {
	if len(words) < 2 || len(words) > 3 {
		return errors.New("a witness line is: witness NAME VKEY [URL]")
	}
	v, err := ParseVerifier(words[1])
	if err != nil {
		return err
	}
	if err := r.once("witness ", words[1]); err != nil {
		return err
	}
	known := KnownWitness{Name: words[0], Verifier: v}
	if len(words) == 3 {
		if known.URL, err = prefix(words[2]); err != nil {
			return err
		}
	}
	r.Witnesses = append(r.Witnesses, known)
	return r.define(words[0], node{witness: true})
}

// once refuses a public key that another log, or another witness, has already,
// whatever its name.
func (r *policyReader) once(kind, vkey string) error {
	parts := strings.SplitN(vkey, "+", 3) // base64 has plus signs of its own
	raw, err := base64.StdEncoding.DecodeString(parts[len(parts)-1])
	if err != nil || len(raw) == 0 {
		return errors.New("malformed key")
	}
	key := kind + string(raw[1:]) // without the type
	if r.keys[key] {
		return errors.New("this key is given twice")
	}
	r.keys[key] = true
	return nil
}

// prefix checks the URL of a witness.
func prefix(s string) (string, error) {
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return "", fmt.Errorf("%.200q is not an http or https URL without user, query and fragment", s)
	}
	return strings.TrimRight(s, "/"), nil
}

const nobody = "none" // the predefined name

func (r *policyReader) define(name string, n node) error {
	if _, taken := r.nodes[name]; taken || name == nobody {
		return fmt.Errorf("the name %.100q is taken", name)
	}
	r.nodes[name] = n
	return nil
}

func (r *policyReader) group(words []string) error {
	if len(words) < 3 {
		return errors.New("a group line is: group NAME all|any|NUMBER MEMBER [MEMBER ...]")
	}
	n := node{members: words[2:]}
	switch words[1] {
	case "all":
		n.need = len(n.members)
	case "any":
		n.need = 1
	default:
		need, ok := parseSize(words[1])
		if !ok || need < 1 || need > int64(len(n.members)) {
			return fmt.Errorf("of %d members all, any, or a number from 1 to %[1]d have to witness, not %.100q", len(n.members), words[1])
		}
		n.need = int(need)
	}
	for _, name := range n.members {
		if _, known := r.nodes[name]; !known {
			return fmt.Errorf("%.100q is not a witness or group of a line before this one", name)
		}
		if r.member[name] {
			return fmt.Errorf("%.100q is a member already: each name may be listed once", name)
		}
		r.member[name] = true
	}
	return r.define(words[0], n)
}

func (r *policyReader) decide(words []string) error {
	switch {
	case len(words) != 1:
		return errors.New("a quorum line is: quorum NAME")
	case r.decided:
		return errors.New("there is a quorum line already")
	}
	if _, known := r.nodes[words[0]]; !known && words[0] != nobody {
		return fmt.Errorf("%.100q is not a witness or group of a line before this one", words[0])
	}
	r.decided = true
	if words[0] != nobody {
		r.quorum = words[0]
	}
	return nil
}

// Met reports whether the cosignatures of these witnesses are enough. has is
// asked by the names of the policy.
func (p *Policy) Met(has func(name string) bool) bool {
	return p.quorum == "" || p.witnessedBy(p.quorum, has)
}

// witnessedBy descends through groups, which only list names of lines before
// them and so end.
func (p *Policy) witnessedBy(name string, has func(string) bool) bool {
	n := p.nodes[name]
	if n.witness {
		return has(name)
	}
	count := 0
	for _, member := range n.members {
		if p.witnessedBy(member, has) {
			count++
		}
	}
	return count >= n.need
}

// LogKeys returns the keys of one log; their order is that of the file.
func (p *Policy) LogKeys(origin string) []note.Verifier {
	var keys []note.Verifier
	for _, l := range p.Logs {
		if l.Verifier.Name() == origin {
			keys = append(keys, l.Verifier)
		}
	}
	return keys
}
