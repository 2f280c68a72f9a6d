package app

import (
	"bytes"
	"context"
	"fmt"
	"sync"

	"github.com/westworld-charter/charter/internal/audit"
	"github.com/westworld-charter/charter/internal/bundle"
	"github.com/westworld-charter/charter/internal/charter"
	"github.com/westworld-charter/charter/internal/engine"
	bundlesapi "github.com/westworld-charter/charter/internal/httpapi/bundles"
	decisionapi "github.com/westworld-charter/charter/internal/httpapi/decision"
	"github.com/westworld-charter/charter/internal/wire"
)

// bundleRoutes serve bundles to everybody who has proven an identity. A node has a
// proxy instead.
func (s *Server) bundleRoutes() ([]wire.Route, error) {
	if s.program.node {
		return nil, nil
	}
	own := &ownBundle{engine: s.engine, build: s.program.compiler.Build, failed: func(err error) {
		s.log.Error("the bundle of the policy in force cannot be made, so it is not served", "error", err.Error())
	}}
	if s.proxy != nil { // what was released, byte by byte and with its signatures
		own.release = s.proxy
	}
	var sources bundleSources
	if s.opaBundle != nil {
		sources = append(sources, s.opaBundle)
	}
	if states := s.stateBundles(); states != nil {
		sources = append(sources, states)
	}
	if published := s.fleetBundles(); published != nil {
		sources = append(sources, published)
	}
	sources = append(sources, own)
	api, err := bundlesapi.New(bundlesapi.Options{Source: sources, Caller: bundleCaller, Log: s.log})
	if err != nil {
		return nil, err
	}
	s.bundles = api
	s.metrics.Bundles(api.Waiting)
	return api.Routes(), nil
}

// bundleCaller is who asks for a bundle.
func bundleCaller(ctx context.Context) bundlesapi.Caller {
	return bundlesapi.Caller{Node: decisionapi.IdentityOf(ctx).Node, Principal: audit.CallerOf(ctx).Principal}
}

// bundleSources asks one source after the other. One that knows a name and has nothing
// for who asks says so by what it waits for, and nobody else is asked.
type bundleSources []bundlesapi.Source

// Current implements [bundlesapi.Source].
func (list bundleSources) Current(r bundlesapi.Request) (bundlesapi.Release, <-chan struct{}, bool) {
	for _, source := range list {
		if release, changed, ok := source.Current(r); ok || changed != nil {
			return release, changed, ok
		}
	}
	return bundlesapi.Release{}, nil, false
}

// ownBundle offers the bundle of the policy in force, unsigned unless it was released.
// It implements [bundlesapi.Source].
type ownBundle struct {
	engine  *engine.Engine
	build   func(*charter.Charter) (*bundle.Bundle, error)
	release bundlesapi.Source // that the policy comes from; nil when it is made here
	failed  func(error)

	mu     sync.Mutex         // held while the archive is made: one for all who ask at once
	digest string             // of the charter that made is of; guarded by mu
	made   bundlesapi.Release // guarded by mu
}

// Current implements [bundlesapi.Source].
func (b *ownBundle) Current(r bundlesapi.Request) (bundlesapi.Release, <-chan struct{}, bool) {
	changed := b.engine.Changed() // before it is looked what it is
	p := b.engine.Current()
	if p == nil || r.Name != charterBundle && r.Name != p.Charter().Metadata.Name {
		return bundlesapi.Release{}, nil, false
	}
	if b.release != nil {
		r.Name = proxiedPolicy
		return b.release.Current(r)
	}
	made, err := b.archive(p.Charter())
	if err != nil {
		b.failed(err)
	}
	return made, changed, err == nil
}

// archive makes the bundle anew: a policy keeps none, and the same charter gives the
// same bytes.
func (b *ownBundle) archive(c *charter.Charter) (bundlesapi.Release, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.digest == c.Digest() {
		return b.made, nil
	}
	built, err := b.build(c)
	if err != nil {
		return bundlesapi.Release{}, err
	}
	var archive bytes.Buffer
	if err := built.WriteTar(&archive); err != nil {
		return bundlesapi.Release{}, fmt.Errorf("pack: %w", err)
	}
	b.digest, b.made = c.Digest(), bundlesapi.Release{Archive: archive.Bytes(), LayerDigest: built.LayerDigest()}
	return b.made, nil
}
