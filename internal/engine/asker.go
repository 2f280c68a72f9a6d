package engine

import (
	"slices"

	"github.com/westworld-charter/charter/internal/decision"
)

// maxAskers is how many askers are remembered at most; a power of two.
const maxAskers = 1 << 12

// asker is a question without metric, labels and time: who asks, and what for. Few ask
// for much, so what follows from it is remembered. It never changes.
type asker struct {
	key       key      // as far as it does not depend on metric, labels and time
	mentioned *mention // what is said about the node by name, nil for nothing
}

// askerOf returns the asker of a question; false when the answer must be evaluated.
func (y *keyer) askerOf(in *decision.Input, r *reading) (*asker, bool) {
	if r.size == 0 {
		return y.resolve(in)
	}
	if known := y.askers.getBytes(r.asker()); known != nil {
		return known, true
	}
	a, ok := y.resolve(in)
	if ok {
		y.askers.put(r.asker(), *a)
	}
	return a, ok
}

// resolve is askerOf without remembering.
func (y *keyer) resolve(in *decision.Input) (a *asker, ok bool) {
	a = &asker{}
	k := &a.key
	if k.operation, ok = wellFormed(in); !ok || y.granted(in.Role, in.Node) {
		return nil, false
	}
	if k.role, k.claims, ok = y.roleOf(in); !ok {
		return nil, false
	}
	if k.purpose, ok = y.purposes.of(in.Purpose); !ok {
		return nil, false
	}
	if k.retention, ok = y.retentions.of(in.Retention); !ok {
		return nil, false
	}
	if in.Node == "" { // class 0 is that of no node at all
		return a, true
	}
	if k.place, ok = y.placeOf(in.Node); !ok {
		return nil, false
	}
	if a.mentioned = y.mentions[in.Node]; a.mentioned != nil {
		if a.mentioned.unusual {
			return nil, false
		}
		k.mentioned = a.mentioned.number
	}
	k.node, ok = y.nodes.of(in.Node)
	return a, ok
}

// wellFormed reports whether who asks is complete and small enough, and numbers the
// operation. Texts are checked where they are read, and only when they were not
// read before; all together refuse what [decision.Input.Validate] does, and more.
func wellFormed(in *decision.Input) (operation uint64, ok bool) {
	switch in.Operation {
	case decision.Collect:
		operation = 1
	case decision.Read:
		operation = 2
	case decision.Export:
		operation = 3
	default:
		return 0, false
	}
	if in.Role == "" || in.Operation != decision.Read && in.Node == "" {
		return 0, false
	}
	ok = len(in.Claims) <= decision.MaxClaims && len(in.Role)+len(in.Purpose)+len(in.Retention) <= maxKeyText
	return operation, ok
}

// roleOf numbers the role and returns the set of its required claims that are held.
func (y *keyer) roleOf(in *decision.Input) (number uint32, held uint64, ok bool) {
	role, declared := y.roles[in.Role]
	if number, ok = role.number, len(role.requires) <= maxBits; !declared {
		number, ok = y.undeclared.of(in.Role)
	}
	for _, claim := range in.Claims {
		if i, found := slices.BinarySearch(role.requires, claim); found {
			held |= 1 << i
		} else if !valid(claim) {
			return 0, 0, false
		}
	}
	return number, held, ok
}
