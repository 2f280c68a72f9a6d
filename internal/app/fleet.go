package app

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/westworld-charter/charter/internal/activation"
	"github.com/westworld-charter/charter/internal/distribution"
	"github.com/westworld-charter/charter/internal/fleet"
	bundlesapi "github.com/westworld-charter/charter/internal/httpapi/bundles"
	decisionapi "github.com/westworld-charter/charter/internal/httpapi/decision"
	fleetapi "github.com/westworld-charter/charter/internal/httpapi/fleet"
)

// charterBundle is the name under which nodes fetch the policy of the channel that the
// server trusts, whatever that is called.
const charterBundle = "charter"

// openFleet reads what is known of nodes and releases. Charter-node knows of none.
func (s *Server) openFleet() error {
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
	return nil
}

// watchFleet takes the steps of rollouts until ctx ends.
func (s *Server) watchFleet(ctx context.Context) {
	if err := s.fleet.Run(ctx); err != nil {
		s.log.Error("what nodes have reported is not on disk", "error", err.Error())
	}
}

// fleetRoutes take reports of nodes and releases.
func (s *Server) fleetRoutes() ([]decisionapi.Route, error) {
	if s.fleet == nil {
		return nil, nil
	}
	o := fleetapi.Options{Fleet: s.fleet, Caller: s.fleetCaller, Reported: s.metrics.NodeReported, OPAs: s.opas, Logger: s.log}
	if s.options.Trust != "" {
		o.Verify = s.verifyArchive
	}
	own, err := fleetapi.Routes(o)
	if err != nil {
		return nil, err
	}
	routes := make([]decisionapi.Route, len(own))
	for i, r := range own {
		routes[i] = decisionapi.Route{Method: r.Method, Path: r.Path, Scope: r.Scope, Or: r.Or, MaxBody: r.MaxBody, Handler: r.Handler}
	}
	return routes, nil
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
