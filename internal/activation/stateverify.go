package activation

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/westworld-charter/charter/internal/bundle"
	"github.com/westworld-charter/charter/internal/charter"
	"github.com/westworld-charter/charter/internal/distribution"
	"github.com/westworld-charter/charter/internal/release"
	"github.com/westworld-charter/charter/internal/signing"
)

// StateCheck says for whom [VerifyState] verifies. Trust is required.
type StateCheck struct {
	Trust *signing.Trust
	// Charter is the one whose committee counts. With nil nothing that the committee
	// has to sign is looked at.
	Charter *charter.Charter
	// After is the state bundle that was accepted before, nil for none: what is older is
	// refused, and so is what lifts a restriction of it without the committee.
	After *StateBundle
	Now   time.Time
}

// StateBundle is a state bundle as a source offers it.
type StateBundle struct {
	Resolved distribution.Resolved
	Archive  []byte
}

// VerifiedState is what [VerifyState] found out.
type VerifiedState struct {
	release.State

	Digest      string // of the manifest
	LayerDigest string // of the archive
	Revision    string
	Signers     []string // names of the state keys in the trust policy
	// Document is data.charter_state as the server states it, Proofs are the signed
	// requests beside it. Neither may be modified.
	Document map[string]any
	Proofs   []json.RawMessage
	// InForce are the ids of overrides that have an effect now, sorted. It is empty
	// without a charter.
	InForce []string
}

// VerifyState verifies a state bundle as a node with the default limits does that has accepted o.After alone, or
// nothing. [CodeOf] tells why not: a node refuses the bundle, but for
// [CodeRestrictionKept] and [CodeOverrideUnproven], where it takes the bundle without
// what is not proven. What is known of the bundle is returned beside an error, too.
func VerifyState(ctx context.Context, o StateCheck, b StateBundle) (VerifiedState, error) {
	v, err := o.verify(ctx, b)
	if err != nil {
		return v, fmt.Errorf("verify state: %w", err)
	}
	return v, nil
}

func (o *StateCheck) verify(ctx context.Context, b StateBundle) (VerifiedState, error) {
	v := VerifiedState{Digest: b.Resolved.Digest}
	h, err := o.holding(ctx)
	if err != nil {
		return v, fmt.Errorf("the state before: %w", err)
	}
	offered, err := judgeState(ctx, o.Trust, b.Resolved)
	v.State, v.LayerDigest, v.Revision, v.Signers = offered.State, offered.manifest.Layer.Digest, offered.manifest.Revision, offered.signers
	if err == nil {
		err = offered.follows(&h, o.Charter, o.Now)
	}
	if err != nil {
		return v, err
	}
	s, err := offered.open(b.Archive, DefaultMaxState)
	if err != nil {
		return v, err
	}
	v.Document, v.Proofs = s.Document(), s.Proofs()
	if o.Charter == nil {
		return v, nil
	}
	return v, v.prove(h, s, o)
}

// prove looks at what the committee has to have signed.
func (v *VerifiedState) prove(h holding, s *bundle.State, o *StateCheck) error {
	if h.Charter != v.Charter {
		h = holding{}
	}
	_, granted, claims := h.next(s, v.State, v.Digest, o.Charter, o.Now)
	v.InForce = slices.Sorted(maps.Keys(granted))
	if e := claims.event(); e.Code != "" {
		return failf(e.Code, "%s", e.Message)
	}
	return nil
}

// holding is what a node holds on to that has accepted o.After when it was issued.
func (o *StateCheck) holding(ctx context.Context) (holding, error) {
	if o.After == nil {
		return holding{}, nil
	}
	before, err := judgeState(ctx, o.Trust, o.After.Resolved)
	if err != nil {
		return holding{}, err
	}
	then := earlier(o.Now, before.Issued)
	if err := before.follows(&holding{}, o.Charter, then); err != nil {
		return holding{}, err
	}
	s, err := before.open(o.After.Archive, DefaultMaxState)
	if err != nil {
		return holding{}, err
	}
	h, _, _ := holding{}.next(s, before.State, before.digest, o.Charter, then)
	return h, nil
}
