package signing

import (
	"slices"

	"gopkg.in/yaml.v3"

	"github.com/westworld-charter/charter/internal/diag"
)

func (p *trustParser) readThreshold(n *yaml.Node) {
	if n == nil {
		return
	}
	if p.threshold = p.count(n, "threshold"); p.threshold > len(p.names) && len(p.names) > 0 {
		p.errorf(n, TrustInvalidValue, "threshold is %d and there are %d signers: nothing can be accepted", p.threshold, len(p.names))
	}
}

func (p *trustParser) readRequire(n *yaml.Node) {
	if n == nil {
		for _, predicate := range defaultRequire() {
			p.require = append(p.require, requirement{predicate: predicate, threshold: p.threshold})
		}
		return
	}
	p.list(n, "require", func(item *yaml.Node) {
		r := requirement{threshold: p.threshold}
		if item.Kind == yaml.ScalarNode {
			r.predicate = p.text(item, "a predicate type")
		} else {
			p.readRequirement(item, &r)
		}
		if slices.ContainsFunc(p.require, func(o requirement) bool { return o.predicate == r.predicate }) && r.predicate != "" {
			p.errorf(item, TrustDuplicate, "%s is required twice", clip(r.predicate))
		}
		p.require = append(p.require, r)
	})
}

func (p *trustParser) readRequirement(n *yaml.Node, r *requirement) {
	seen := p.mapping(n, "a requirement", map[string]func(*yaml.Node){
		"type":      func(n *yaml.Node) { r.predicate = p.text(n, "type") },
		"signers":   func(n *yaml.Node) { r.signers = p.signersOf(n) },
		"threshold": func(n *yaml.Node) { r.threshold = p.count(n, "threshold") },
	})
	p.need(n, "a requirement", seen, "type")
	among := len(p.names)
	if r.signers != nil {
		among = len(r.signers)
	}
	if r.threshold > among && among > 0 {
		p.errorf(n, TrustInvalidValue, "%d of %d signers are required: nothing can be accepted", r.threshold, among).Fix = "lower the threshold of this entry"
	}
}

func (p *trustParser) signersOf(n *yaml.Node) []string {
	names := p.texts(n, "signers")
	for i, name := range names {
		switch {
		case name == "":
		case !slices.Contains(p.names, name):
			d := p.errorf(n.Content[i], TrustInvalidValue, "there is no signer %s", clip(name))
			if near := diag.DidYouMean(name, p.names); near != "" {
				d.Fix = "did you mean " + near + "?"
			}
		case slices.Contains(names[:i], name):
			p.errorf(n.Content[i], TrustDuplicate, "%s is listed twice", name)
		}
	}
	return names
}

func (p *trustParser) readDemands(doc, log, timestamps *yaml.Node) {
	read := func(n *yaml.Node, what string, into *int) {
		if n == nil {
			return
		}
		p.need(n, what, p.mapping(n, what, map[string]func(*yaml.Node){
			"threshold": func(n *yaml.Node) {
				if *into = p.count(n, what+".threshold"); *into > maxVouchers {
					p.errorf(n, TrustInvalidValue, "%s.threshold is more than %d", what, maxVouchers)
				}
			},
		}), "threshold")
	}
	read(log, "log", &p.demands.logs)
	read(timestamps, "timestamps", &p.demands.timestamps)
	certified := len(p.identities) > 0
	if p.root == nil {
		if certified || log != nil || timestamps != nil {
			p.errorf(doc, TrustMissingField, "identities, log and timestamps need the field trusted_root")
		}
		return
	}
	short := func(have, want int, what string) {
		if have < want {
			p.errorf(doc, TrustInvalidValue, "the trusted root names %d %s, and %d must vouch for a signature: nothing can be accepted", have, what, want)
		}
	}
	logs, stamps := p.demands.logs, p.demands.timestamps
	if certified {
		logs, stamps = max(logs, 1), max(stamps, 1)
		short(len(p.root.FulcioCertificateAuthorities()), 1, "certificate authorities")
		if len(p.root.CTLogs()) == 0 && !p.demands.ignoreSCT {
			p.errorf(doc, TrustInvalidValue, "the trusted root names no certificate transparency log, so that misissued certificates go unseen").
				Fix = "write insecure_ignore_sct: true if the authority is your own and has none"
		}
	}
	short(len(p.root.RekorLogs()), logs, "transparency logs")
	// The logs of version 1 give a time, too.
	short(len(p.root.TimestampingAuthorities())+len(p.root.RekorLogs()), stamps, "timestamp authorities")
}
