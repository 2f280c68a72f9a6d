package app

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/westworld-charter/charter/internal/activation"
	"github.com/westworld-charter/charter/internal/distribution"
	"github.com/westworld-charter/charter/internal/fleet"
	bundlesapi "github.com/westworld-charter/charter/internal/httpapi/bundles"
	decisionapi "github.com/westworld-charter/charter/internal/httpapi/decision"
	fleetapi "github.com/westworld-charter/charter/internal/httpapi/fleet"
	"github.com/westworld-charter/charter/internal/wire"
)

// charterBundle is the name under which nodes fetch the policy of the channel that the
// server trusts, whatever that is called.
const charterBundle = "charter"

// openFleet reads what is known of nodes and releases. Charter-node knows of none.
func (s *Server) openFleet(ctx context.Context) error {
	if s.program.node {
		return nil
	}
	o := fleet.Options{Dir: s.options.Data, Grace: s.options.FleetGrace, Logger: s.log}
	if s.keeper != nil {
		o.Log = s.keeper
	}
	f, err := fleet.Open(o)
	if err != nil {
		return &usageError{err: fmt.Errorf("what is known of nodes and releases, in --data: %w", err)}
	}
	s.fleet = f
	s.metrics.Fleet(f.Stats)
	s.verifyFleet(ctx)
	return nil
}

// partReleases is the part of faults about releases that are kept for nodes; the code is
// what /health says.
const (
	partReleases         = "releases"
	codeUntrustedRelease = "untrusted_release"
)

// verifyFleet verifies every release that is kept for nodes under the trust policy of
// now. One that is not trusted any more is given to nobody.
func (s *Server) verifyFleet(ctx context.Context) {
	trust := s.trust.Load()
	if s.fleet == nil || trust == nil {
		return
	}
	err := s.fleet.Verify(ctx, func(r fleet.Release) string {
		err := activation.VerifyStored(ctx, trust, r.Content.Manifest, r.Content.Statements, r.Sequence)
		switch {
		case err == nil:
			return ""
		case ctx.Err() != nil:
			return r.Untrusted // it is not known
		}
		s.log.Error("a release is not trusted any more, and no node is given it", "channel", r.Channel, "sequence", r.Sequence, "code", activation.CodeOf(err), "error", err.Error())
		return activation.CodeOf(err)
	})
	if err != nil {
		s.log.Error("releases that are kept for nodes cannot be verified again", "error", err.Error())
	}
	s.watchTrust()
}

// publishing looks at what is trusted before and after what was published: while a release
// was on its way the trust policy may have become another one, and whoever brought that
// into force has not seen the release among those that are kept.
type publishing struct {
	*fleet.Fleet

	server *Server
}

// Publish implements [fleetapi.Fleet].
func (p publishing) Publish(ctx context.Context, by string, releases []fleet.Release) (fleet.Published, error) {
	trust := p.server.trust.Load()
	for _, r := range releases {
		if err := activation.VerifyStored(ctx, trust, r.Content.Manifest, r.Content.Statements, r.Sequence); err != nil {
			return fleet.Published{}, &fleetapi.Refusal{Code: activation.CodeOf(err), Err: fmt.Errorf("%s: %w", r.Digest, err)}
		}
	}
	done, err := p.Fleet.Publish(ctx, by, releases)
	if p.server.trust.Load() == trust {
		p.server.watchTrust()
	} else {
		p.server.verifyFleet(context.WithoutCancel(ctx))
	}
	return done, err
}

// watchTrust degrades the server while it keeps releases from nodes that are not trusted
// any more.
func (s *Server) watchTrust() {
	if withheld := s.fleet.Untrusted(); len(withheld) > 0 {
		s.faults.set(partReleases, codeUntrustedRelease, "the trust policy does not trust "+strings.Join(withheld, ", ")+" any more: no node is given it; publish it again with statements of those who are trusted, or a newer one", time.Now())
	} else {
		s.faults.clear(partReleases)
	}
}

// watchFleet takes the steps of rollouts until ctx ends.
func (s *Server) watchFleet(ctx context.Context) {
	if err := s.fleet.Run(ctx); err != nil {
		s.log.Error("what nodes have reported is not on disk", "error", err.Error())
	}
}

// fleetRoutes take reports of nodes and releases.
func (s *Server) fleetRoutes() ([]wire.Route, error) {
	if s.fleet == nil {
		return nil, nil
	}
	o := fleetapi.Options{Fleet: s.fleet, Caller: s.fleetCaller, Reported: s.metrics.NodeReported, OPAs: s.opas, Logger: s.log}
	if s.options.Trust != "" {
		o.Verify = s.verifyArchive
		o.Fleet = publishing{s.fleet, s}
	}
	return fleetapi.Routes(o)
}

// fleetCaller is who sent a request.
func (s *Server) fleetCaller(ctx context.Context) fleetapi.Caller {
	id, who := decisionapi.IdentityOf(ctx), callerOf(ctx)
	return fleetapi.Caller{Principal: who.Principal, Node: id.Node, Anybody: id.Kind == decisionapi.KindSelf}
}

// verifyArchive verifies every release in an archive, as a node that trusts the same
// would.
func (s *Server) verifyArchive(ctx context.Context, archive []byte) ([]fleet.Release, error) {
	trust := s.trust.Load()
	if trust == nil {
		return nil, errors.New("no trust policy is in force")
	}
	found, err := distribution.ReadLayout(bytes.NewReader(archive), int64(len(archive)), distribution.Limits{})
	if err != nil {
		return nil, &fleetapi.Refusal{Code: activation.CodeOf(err), Err: err}
	}
	if len(found) > 2 { // before any of it is verified
		return nil, &fleetapi.Refusal{Code: string(fleet.BadArchive), Err: fmt.Errorf("%d releases, want one and its rollback", len(found))}
	}
	releases := make([]fleet.Release, len(found))
	for i, r := range found {
		resolved := distribution.Resolved{Digest: r.Manifest.Digest(), Manifest: r.Manifest.Bytes(), Statements: r.Statements}
		v, err := activation.VerifyRelease(ctx, trust, resolved, r.Layer, time.Now())
		if err != nil {
			return nil, &fleetapi.Refusal{Code: activation.CodeOf(err), Err: fmt.Errorf("%s: %w", r.Manifest.Digest(), err)}
		}
		releases[i] = fleet.Release{
			Channel: v.Channel, Sequence: v.Sequence, Digest: v.Digest, Layer: v.LayerDigest, Revision: v.Revision,
			CharterDigest: v.CharterDigest, Expires: v.Expires, Signers: v.Signers,
			Content: fleet.Content{Manifest: r.Manifest.Bytes(), Archive: r.Layer, Statements: distribution.EncodeStatements(r.Statements)},
		}
	}
	return releases, nil
}

// fleetBundles are the releases of the fleet as bundles, by channel.
func (s *Server) fleetBundles() bundlesapi.Source {
	if s.fleet == nil {
		return nil
	}
	return offers{s}
}

type offers struct{ *Server }

// Current implements [bundlesapi.Source]. Where changed is not nil, there is no other
// bundle of that name.
func (o offers) Current(r bundlesapi.Request) (bundlesapi.Release, <-chan struct{}, bool) {
	channel := r.Name
	if trust := o.trust.Load(); channel == charterBundle && trust != nil {
		channel = trust.Channel()
	}
	rel, changed, published, ok := o.fleet.Offer(channel, r.Node)
	if !published {
		return bundlesapi.Release{}, nil, false
	}
	return bundlesapi.Release{
		Archive: rel.Content.Archive, LayerDigest: rel.Layer, Statements: rel.Content.Statements, ReleaseDigest: rel.Digest,
	}, changed, ok
}
