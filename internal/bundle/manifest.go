package bundle

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"unicode"
)

// maxRevision bounds a revision in bytes: it is in every decision and log line.
const maxRevision = 256

// Manifest is the .manifest file. Roots is always [Root] alone and RegoVersion
// always 1. Metadata is free.
type Manifest struct {
	Revision    string         `json:"revision"`
	Roots       []string       `json:"roots"`
	RegoVersion int            `json:"rego_version"`
	Metadata    map[string]any `json:"metadata,omitempty"`
}

func (m Manifest) clone() Manifest {
	m.Roots = slices.Clone(m.Roots)
	m.Metadata = maps.Clone(m.Metadata)
	return m
}

// parseManifest reads a manifest strictly: exact field names, none twice, none
// unknown. Readers that take the last of two fields, or any case, cannot be
// made to see another manifest than we do.
func parseManifest(data []byte) (Manifest, error) {
	fields, err := exactFields(data)
	if err != nil {
		return Manifest{}, newError(CodeBadManifest, ManifestFile, "%w", err)
	}
	var m Manifest
	for name, target := range map[string]any{
		"revision": &m.Revision, "roots": &m.Roots, "rego_version": &m.RegoVersion, "metadata": &m.Metadata,
	} {
		value, ok := fields[name]
		if !ok {
			continue
		}
		if err := json.Unmarshal(value, target); err != nil || string(value) == "null" {
			return Manifest{}, newError(CodeBadManifest, ManifestFile, "field %s has the wrong type", name)
		}
		delete(fields, name)
	}
	for name := range fields {
		return Manifest{}, newError(CodeBadManifest, ManifestFile, "unknown field %q", clip(name))
	}
	return m, m.check()
}

func (m Manifest) check() error {
	switch {
	case !slices.Equal(m.Roots, []string{Root}):
		return newError(CodeBadRoots, ManifestFile, "roots must be exactly [%q]", Root)
	case m.RegoVersion != 1:
		return newError(CodeBadManifest, ManifestFile, "rego_version must be 1")
	case m.Revision == "" || len(m.Revision) > maxRevision || strings.ContainsFunc(m.Revision, unprintable):
		return newError(CodeBadManifest, ManifestFile, "revision must be 1 to %d bytes of printable text", maxRevision)
	default:
		return nil
	}
}

func unprintable(r rune) bool { return !unicode.IsPrint(r) || r == unicode.ReplacementChar }

// exactFields splits one JSON object into its fields.
func exactFields(data []byte) (map[string]json.RawMessage, error) {
	dec := json.NewDecoder(bytes.NewReader(data))
	if start, err := dec.Token(); err != nil || start != json.Delim('{') {
		return nil, errors.New("not a JSON object")
	}
	fields := map[string]json.RawMessage{}
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return nil, err
		}
		name, _ := key.(string) // the decoder admits nothing else as a key
		if _, twice := fields[name]; twice {
			return nil, fmt.Errorf("field %q is given twice", clip(name))
		}
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return nil, err
		}
		fields[name] = value
	}
	if _, err := dec.Token(); err != nil {
		return nil, err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("more than one JSON value")
	}
	return fields, nil
}
