package signing

import (
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

func (p *trustParser) readState(n *yaml.Node) {
	seen := p.mapping(n, "state", map[string]func(*yaml.Node){
		"threshold": func(n *yaml.Node) { p.stateThreshold = p.count(n, "state.threshold") },
		"may":       p.readMay,
		"keys": func(n *yaml.Node) {
			p.list(n, "state.keys", func(item *yaml.Node) {
				p.readKey(item, "a state key", func(hint string) {
					if _, twice := p.stateAt[hint]; twice {
						p.errorf(item, TrustDuplicate, "this key is given twice")
					}
					p.stateAt[hint] = item
				}, p.stateKeys)
			})
		},
	})
	p.need(n, "state", seen, "keys")
	if p.stateThreshold > len(p.stateKeys) && len(p.stateKeys) > 0 {
		p.errorf(n, TrustInvalidValue, "state.threshold is %d and there are %d keys: nothing can be accepted", p.stateThreshold, len(p.stateKeys))
	}
}

func (p *trustParser) readMay(n *yaml.Node) {
	known := []string{StateGrants, StateLabels}
	p.list(n, "state.may", func(item *yaml.Node) {
		what := p.text(item, "an entry of state.may")
		switch {
		case slices.Contains(p.stateMay, what):
			p.errorf(item, TrustDuplicate, "%s is listed twice", what)
		case what != "" && !slices.Contains(known, what):
			p.errorf(item, TrustInvalidValue, "state keys cannot be trusted with %s", clip(what)).Fix = "there are " + strings.Join(known, ", ")
		}
		p.stateMay = append(p.stateMay, what)
	})
}

// separateState holds that a key for state, which a server has at hand, signs no
// releases.
func (p *trustParser) separateState() {
	for hint, n := range p.stateAt {
		if name, both := p.keys[hint]; both {
			p.errorf(n, TrustDuplicate, "this key is also that of the signer %s: a state key signs nothing but state", name).Fix = "make another key for state"
		}
	}
}
