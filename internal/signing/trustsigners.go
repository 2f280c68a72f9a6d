package signing

import (
	"regexp"
	"slices"
	"strings"

	"github.com/sigstore/sigstore-go/pkg/verify"
	"gopkg.in/yaml.v3"
)

func (p *trustParser) readSigner(n *yaml.Node) {
	var name string
	var key, id *yaml.Node
	seen := p.mapping(n, "a signer", map[string]func(*yaml.Node){
		"name":     func(n *yaml.Node) { name = p.text(n, "name") },
		"key":      func(n *yaml.Node) { key = n },
		"identity": func(n *yaml.Node) { id = n },
	})
	p.need(n, "a signer", seen, "name")
	if strings.ContainsAny(name, ", \t\n") {
		p.errorf(n, TrustInvalidValue, "the name of a signer has no spaces and commas")
	}
	if !slices.Contains(p.names, name) {
		p.names = append(p.names, name)
	}
	switch {
	case (key == nil) == (id == nil) && n.Kind == yaml.MappingNode:
		p.errorf(n, TrustMissingField, "a signer has a key or an identity, and not both")
	case key != nil:
		p.readKey(key, "key", func(hint string) {
			if other, twice := p.keys[hint]; twice {
				p.errorf(key, TrustDuplicate, "this key is that of the signer %s already", other)
			}
			p.keys[hint] = name
		}, p.material)
	case id != nil:
		p.readIdentity(id, name)
	}
}

// readKey reads a key, inline or from a file, into the ring.
func (p *trustParser) readKey(n *yaml.Node, what string, visit func(hint string), into keyring) {
	text := p.text(n, what)
	if text == "" {
		return
	}
	data, err := []byte(text), error(nil)
	if !strings.HasPrefix(strings.TrimSpace(text), "-----BEGIN") {
		data, err = p.read(text)
	}
	if err != nil {
		p.errorf(n, TrustBadFile, "%s: %v", what, err)
		return
	}
	key, err := parsePublic(data)
	if err != nil {
		p.errorf(n, TrustBadFile, "%s: %v", what, err).Fix = "name the public half (.pub) of an ECDSA P-256 key, or write its PEM here"
		return
	}
	visit(hintOf(key))
	into[hintOf(key)] = key
}

func (p *trustParser) readIdentity(n *yaml.Node, name string) {
	value := map[string]string{}
	fields := map[string]func(*yaml.Node){}
	for _, f := range []string{"issuer", "subject"} {
		fields[f] = func(n *yaml.Node) { value[f] = p.text(n, f) }
		fields[f+"_regexp"] = func(n *yaml.Node) { value[f+"_regexp"] = p.anchored(n, f+"_regexp") }
	}
	seen := p.mapping(n, "an identity", fields)
	for _, f := range []string{"issuer", "subject"} {
		if n.Kind == yaml.MappingNode && slices.Contains(seen, f) == slices.Contains(seen, f+"_regexp") {
			p.errorf(n, TrustMissingField, "an identity has %s or %s_regexp, and not both", f, f)
			return
		}
	}
	matcher, err := verify.NewShortCertificateIdentity(value["issuer"], value["issuer_regexp"], value["subject"], value["subject_regexp"])
	if err != nil {
		if !p.found.HasErrors() { // an empty value has been reported
			p.errorf(n, TrustInvalidValue, "identity: %v", err)
		}
		return
	}
	p.identities = append(p.identities, identity{name, matcher})
}

// anchored reads a regular expression, which must match the whole text.
func (p *trustParser) anchored(n *yaml.Node, what string) string {
	text := p.text(n, what)
	if text == "" {
		return ""
	}
	if _, err := regexp.Compile(text); err != nil {
		p.errorf(n, TrustInvalidValue, "%s: %v", what, err)
		return ""
	}
	return `\A(?:` + text + `)\z`
}
