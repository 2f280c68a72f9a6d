package signing

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/sigstore/sigstore-go/pkg/root"
	"gopkg.in/yaml.v3"

	"github.com/westworld-charter/charter/internal/diag"
	"github.com/westworld-charter/charter/internal/release"
)

// Limits of a trust policy.
const (
	maxTrust   = 256 << 10 // bytes of trust.yaml
	maxRoot    = 4 << 20   // bytes of a trusted root
	maxEntries = 64        // of a list, and the largest threshold
	maxText    = 2048      // bytes of one text; an inline PEM is far below
)

// apiVersion is that of all documents of Charter.
const apiVersion = "charter/v1"

// InvalidTrust says what is wrong with a trust policy.
type InvalidTrust struct{ Findings diag.List }

func (e *InvalidTrust) Error() string {
	if len(e.Findings) == 0 {
		return "trust policy: not valid"
	}
	first := e.Findings[0]
	text := fmt.Sprintf("trust policy: %s: %s", first.Pos, first.Message)
	if first.Fix != "" {
		text += " (" + first.Fix + ")"
	}
	if more := len(e.Findings) - 1; more > 0 {
		text += fmt.Sprintf(", and %d more findings", more)
	}
	return text
}

// ReadTrust reads a trust policy and the files that it names, which are relative to
// it. What is wrong with it is an [*InvalidTrust].
func ReadTrust(path string) (*Trust, error) {
	data, err := readFile(path, maxTrust)
	if err != nil {
		return nil, fmt.Errorf("trust policy: %w", err)
	}
	return ParseTrust(path, data, func(name string) ([]byte, error) {
		if !filepath.IsAbs(name) {
			name = filepath.Join(filepath.Dir(path), name)
		}
		return readFile(name, maxRoot)
	})
}

func readFile(path string, limit int64) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > limit {
		return nil, fmt.Errorf("%s is not a file of at most %d bytes", path, limit)
	}
	return os.ReadFile(path)
}

// ParseTrust is [ReadTrust] for bytes; file is the name in findings, and read returns
// the content of the files that the policy names.
func ParseTrust(file string, data []byte, read func(name string) ([]byte, error)) (*Trust, error) {
	p := &trustParser{reader: reader{file: file}, read: read}
	t := p.parse(data)
	if p.found.HasErrors() {
		p.found.Sort()
		return nil, &InvalidTrust{p.found}
	}
	return t, nil
}

// trustParser reads one trust policy.
type trustParser struct {
	reader
	read func(name string) ([]byte, error)

	channel    string
	names      []string          // of signers, in their order
	keys       map[string]string // names of signers by the hints of their keys
	identities []identity
	material   keyring           // the keys of signers
	root       *root.TrustedRoot // nil: none is named
	threshold  int
	require    []requirement
	demands    demands

	stateKeys      keyring
	stateThreshold int
	stateMay       []string
	stateAt        map[string]*yaml.Node // where each key is, by hint
}

func (p *trustParser) parse(data []byte) *Trust {
	doc := p.document(data)
	if doc == nil {
		return nil
	}
	p.keys, p.material = map[string]string{}, keyring{}
	p.stateKeys, p.stateAt = keyring{}, map[string]*yaml.Node{}
	p.threshold, p.stateThreshold = 1, 1
	at := map[string]*yaml.Node{} // fields that are read when the others are known
	later := func(name string) func(*yaml.Node) { return func(n *yaml.Node) { at[name] = n } }
	seen := p.mapping(doc, "the trust policy", map[string]func(*yaml.Node){
		"apiVersion":          func(n *yaml.Node) { p.exactly(n, "apiVersion", apiVersion) },
		"kind":                func(n *yaml.Node) { p.exactly(n, "kind", "Trust") },
		"channel":             p.readChannel,
		"trusted_root":        p.readRoot,
		"signers":             func(n *yaml.Node) { p.list(n, "signers", p.readSigner) },
		"threshold":           later("threshold"),
		"log":                 later("log"),
		"timestamps":          later("timestamps"),
		"require":             later("require"),
		"state":               p.readState,
		"insecure_ignore_sct": func(n *yaml.Node) { p.demands.ignoreSCT = p.boolean(n, "insecure_ignore_sct") },
	})
	p.need(doc, "the trust policy", seen, "apiVersion", "kind", "channel", "signers")
	p.readThreshold(at["threshold"])
	p.readRequire(at["require"])
	p.readDemands(doc, at["log"], at["timestamps"])
	p.separateState()
	if p.found.HasErrors() {
		return nil
	}
	return p.build(doc)
}

// need reports the fields that are missing. A node that is no mapping has been reported
// already.
func (p *trustParser) need(n *yaml.Node, what string, seen []string, fields ...string) {
	for _, f := range fields {
		if n.Kind == yaml.MappingNode && !slices.Contains(seen, f) {
			p.errorf(n, TrustMissingField, "%s needs the field %s", what, f)
		}
	}
}

func (p *trustParser) exactly(n *yaml.Node, what, want string) {
	if got := p.text(n, what); got != want && got != "" {
		p.errorf(n, TrustInvalidValue, "%s is %s", what, clip(got)).Fix = "write " + what + ": " + want
	}
}

func (p *trustParser) readChannel(n *yaml.Node) {
	if p.channel = p.text(n, "channel"); p.channel != "" && !release.ValidChannel(p.channel) {
		p.errorf(n, TrustInvalidValue, "channel must be 1 to 63 letters, digits, ., _ and -")
	}
}

func (p *trustParser) readRoot(n *yaml.Node) {
	name := p.text(n, "trusted_root")
	if name == "" {
		return
	}
	data, err := p.read(name)
	if err == nil {
		p.root, err = root.NewTrustedRootFromJSON(data)
	}
	if err != nil {
		p.errorf(n, TrustBadFile, "trusted_root: %v", err).Fix = "name a Sigstore trusted root (JSON), such as that of `cosign trusted-root create`"
	}
}

func (p *trustParser) build(doc *yaml.Node) *Trust {
	t := &Trust{
		channel: p.channel,
		may:     p.stateMay,
		policy:  &authority{keys: p.keys, identities: p.identities, threshold: p.threshold, require: p.require},
	}
	var trusted root.TrustedMaterial
	if p.root != nil {
		trusted = p.root
	}
	err := t.policy.prepare(trusted, p.material, p.demands)
	if len(p.stateKeys) > 0 {
		t.state = &authority{keys: map[string]string{}, threshold: p.stateThreshold}
		t.state.require = []requirement{{predicate: release.StateType, threshold: p.stateThreshold}}
		for i, hint := range slices.Sorted(maps.Keys(p.stateKeys)) {
			t.state.keys[hint] = fmt.Sprintf("state-%d", i+1)
		}
		err = errors.Join(err, t.state.prepare(nil, p.stateKeys, demands{}))
	}
	if err != nil {
		p.errorf(doc, TrustInvalidValue, "%v", err)
		return nil
	}
	return t
}
