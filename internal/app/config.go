package app

import (
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/westworld-charter/charter/internal/diag"
	"github.com/westworld-charter/charter/internal/yamldoc"
)

// maxConfig bounds a configuration file in bytes.
const maxConfig = 1 << 20

// Codes of findings in a configuration file.
const (
	codeSyntax       = "syntax"
	codeUnknownField = "unknown_field"
	codeWrongType    = "wrong_type"
	codeInvalidValue = "invalid_value"
	codeDuplicate    = "duplicate_field"
)

// configReader turns one YAML file into a layer and collects every finding.
type configReader struct {
	path     string
	settings []setting
	layer    layer
	findings diag.List
}

// loadConfig reads a configuration file strictly: an unknown key, a key given
// twice and a value of the wrong kind are findings with their place.
func (p Program) loadConfig(path string, readFile func(string) ([]byte, error)) (layer, error) {
	data, err := readFile(path)
	if err != nil {
		return nil, &usageError{err: fmt.Errorf("read configuration: %w", err)}
	}
	if len(data) > maxConfig {
		return nil, &usageError{err: fmt.Errorf("read configuration: %s is larger than %d bytes", path, maxConfig)}
	}
	r := &configReader{path: path, settings: p.settings, layer: layer{}}
	r.read(data)
	if r.findings.HasErrors() {
		r.findings.Sort()
		return nil, &usageError{err: errors.New("the configuration file is not valid"), findings: r.findings}
	}
	return r.layer, nil
}

func (r *configReader) read(data []byte) {
	root, bad := yamldoc.Root(data)
	if bad != nil {
		r.findings.Errorf(diag.Pos{File: r.path, Line: bad.Line, Col: bad.Col}, codeSyntax, "%s", bad.Message)
	}
	if root != nil { // an empty file configures nothing
		r.mapping("", root)
	}
}

// mapping reads one level; prefix is the dotted path of the keys above with a
// final dot.
func (r *configReader) mapping(prefix string, n *yaml.Node) {
	if n.Kind != yaml.MappingNode {
		r.findings.Errorf(r.at(n), codeWrongType, "%s must be a mapping", first(strings.TrimSuffix(prefix, "."), "the configuration"))
		return
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, val := n.Content[i], n.Content[i+1]
		if seen[key.Value] {
			r.findings.Errorf(r.at(key), codeDuplicate, "%s is given twice", prefix+key.Value)
			continue
		}
		seen[key.Value] = true
		r.entry(prefix, key, val)
	}
}

func (r *configReader) entry(prefix string, key, val *yaml.Node) {
	name := prefix + key.Value
	siblings := map[string]bool{}
	for _, s := range r.settings {
		if s.key == name {
			r.scalar(s, val)
			return
		}
		if strings.HasPrefix(s.key, name+".") {
			r.mapping(name+".", val)
			return
		}
		if rest, ok := strings.CutPrefix(s.key, prefix); ok {
			head, _, _ := strings.Cut(rest, ".")
			siblings[head] = true
		}
	}
	f := r.findings.Errorf(r.at(key), codeUnknownField, "unknown field %s", name)
	if near := diag.DidYouMean(key.Value, slices.Collect(maps.Keys(siblings))); near != "" {
		f.Fix = "did you mean " + near + "?"
	}
}

// scalar takes over one value. Trying it on scratch options finds a bad value
// while its place is known.
func (r *configReader) scalar(s setting, n *yaml.Node) {
	if n.Kind != yaml.ScalarNode || n.Tag == "!!null" || n.Value == "" {
		r.findings.Errorf(r.at(n), codeWrongType, "%s must be a single value", s.key)
		return
	}
	var scratch Options
	if err := s.set(&scratch, n.Value); err != nil {
		r.findings.Errorf(r.at(n), codeInvalidValue, "%s: %v", s.key, err)
		return
	}
	v := n.Value
	if s.path && !filepath.IsAbs(v) && !strings.Contains(v, "://") {
		v = filepath.Join(filepath.Dir(r.path), v)
	}
	r.layer[s.flag] = value{v, fmt.Sprintf("%s: %s", r.at(n), s.key)}
}

func (r *configReader) at(n *yaml.Node) diag.Pos {
	return diag.Pos{File: r.path, Line: n.Line, Col: n.Column}
}
