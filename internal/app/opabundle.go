package app

import (
	"bytes"
	"context"
	"fmt"
	"sync"

	"github.com/westworld-charter/charter/internal/bundle"
	bundlesapi "github.com/westworld-charter/charter/internal/httpapi/bundles"
	"github.com/westworld-charter/charter/internal/release"
)

const (
	// partOPABundle is the part of faults about the archive for stock OPA.
	partOPABundle = "bundle for OPA"
	// maxOPABundle bounds that archive in bytes.
	maxOPABundle = 64 << 20
	// opaSuffix ends the names of bundles that are signed inside.
	opaSuffix = "-opa"
)

// opaBundle offers the archive that is signed inside, for a stock OPA that verifies
// what it downloads. It was made beforehand: a server holds no such key. It implements
// [bundlesapi.Source].
type opaBundle struct {
	name func() string // of the charter in force

	mu      sync.Mutex
	archive bundlesapi.Release // guarded by mu
	changed chan struct{}      // closed when archive is another one; guarded by mu
}

// Current implements [bundlesapi.Source].
func (b *opaBundle) Current(r bundlesapi.Request) (bundlesapi.Release, <-chan struct{}, bool) {
	if r.Name != charterBundle+opaSuffix && r.Name != b.name()+opaSuffix {
		return bundlesapi.Release{}, nil, false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.archive, b.changed, true
}

// loadOPABundle is the load of the part bundle for OPA. The signature is for OPA to
// verify; what is looked at here is that there is one, and that it is a bundle.
func (s *Server) loadOPABundle(_ context.Context, from stamps) error {
	path := s.options.OPABundle
	from.note(path)
	data, err := readFile(path, maxOPABundle)
	if err == nil && len(data) > maxOPABundle {
		err = fmt.Errorf("larger than %d bytes", maxOPABundle)
	}
	var b *bundle.Bundle
	if err == nil {
		b, _, err = bundle.ReadSigned(bytes.NewReader(data), bundle.DefaultLimits())
	}
	if err != nil {
		return &PolicyError{Path: path, Code: CodeInvalidBundle, Err: fmt.Errorf("%w; charter-admin sign --opa-jwt makes such an archive", err)}
	}
	o := s.opaBundle
	o.mu.Lock()
	defer o.mu.Unlock()
	o.archive = bundlesapi.Release{Archive: data, LayerDigest: release.Digest(data)}
	close(o.changed)
	o.changed = make(chan struct{})
	s.log.Info("bundle for OPA", "path", path, "revision", b.Manifest().Revision)
	return nil
}

// openOPABundle has the archive followed, if there is one.
func (s *Server) openOPABundle() {
	if s.options.OPABundle == "" {
		return
	}
	s.opaBundle = &opaBundle{changed: make(chan struct{}), name: func() string {
		if p := s.engine.Current(); p != nil {
			return p.Charter().Metadata.Name
		}
		return charterBundle
	}}
	s.parts = append(s.parts, &part{name: partOPABundle, load: s.loadOPABundle})
}
