package app

import (
	"fmt"
	"sync"

	"github.com/westworld-charter/charter/internal/activation"
	"github.com/westworld-charter/charter/internal/bundle"
	bundlesapi "github.com/westworld-charter/charter/internal/httpapi/bundles"
	"github.com/westworld-charter/charter/internal/release"
	"github.com/westworld-charter/charter/internal/wire"
)

// Names of the bundles that a node offers to other programs of its machine.
const (
	proxiedPolicy = "charter"
	proxiedState  = "state"
)

// proxy offers what a node runs to programs that verify nothing, such as a stock OPA:
// the archive as it was signed and verified, and the state document as the node
// believes it. It implements [bundlesapi.Source].
type proxy struct {
	state bool // there is a state bundle
	api   *bundlesapi.API

	mu      sync.Mutex
	by      map[string]bundlesapi.Release // by name; guarded by mu
	changed chan struct{}                 // closed when by is another one; guarded by mu
}

// Current implements [bundlesapi.Source].
func (p *proxy) Current(r bundlesapi.Request) (bundlesapi.Release, <-chan struct{}, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	found, ok := p.by[r.Name]
	return found, p.changed, ok
}

// put offers what is in force.
func (p *proxy) put(a activation.Activation) error {
	next := map[string]bundlesapi.Release{
		proxiedPolicy: {Archive: a.Archive, LayerDigest: a.LayerDigest, Statements: a.Statements, ReleaseDigest: a.Digest},
	}
	var err error
	if p.state {
		// Without it, other programs would go on with the state that they have.
		var archive []byte
		if archive, err = bundle.OfState(a.State); err != nil {
			err = fmt.Errorf("state document: %w", err)
		} else {
			next[proxiedState] = bundlesapi.Release{Archive: archive, LayerDigest: release.Digest(archive)}
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.by = next
	close(p.changed)
	p.changed = make(chan struct{})
	return err
}

// openProxy prepares what [putRelease] fills. A server hands on the release that it
// follows, too; without one it makes its bundle itself.
func (s *Server) openProxy() error {
	if !s.program.node && !s.options.followsReleases() {
		return nil
	}
	p := &proxy{state: s.options.Releases.StateBundle != "", changed: make(chan struct{})}
	var err error
	p.api, err = bundlesapi.New(bundlesapi.Options{Source: p, Log: s.log})
	s.proxy = p
	return err
}

// proxyRoutes let everybody on who has proven an identity.
func (s *Server) proxyRoutes() ([]wire.Route, error) {
	if !s.program.node {
		return nil, nil // a server has more to offer: see bundleRoutes
	}
	return s.proxy.api.Routes(), nil
}
