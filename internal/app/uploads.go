package app

import (
	"cmp"
	"context"
	"time"

	"github.com/westworld-charter/charter/internal/audit"
	"github.com/westworld-charter/charter/internal/fleet"
	decisionapi "github.com/westworld-charter/charter/internal/httpapi/decision"
	uploadsapi "github.com/westworld-charter/charter/internal/httpapi/uploads"
	"github.com/westworld-charter/charter/internal/wire"
)

// uploadRoutes take what stock OPAs upload. Without a ledger there is nowhere to keep
// it.
func (s *Server) uploadRoutes() ([]wire.Route, error) {
	if s.keeper == nil || s.program.node {
		return nil, nil
	}
	api, err := uploadsapi.New(uploadsapi.Options{
		Recorder: s.keeper.auditor, Log: s.keeper, Caller: uploader, Observer: s.metrics, Charge: s.charge, MaxBody: s.options.MaxBody, Logger: s.log,
	})
	if err != nil {
		return nil, err
	}
	s.uploads = api
	s.metrics.Uploads(func() int { return len(api.Instances()) })
	return api.Routes(), nil
}

// charge takes decisions from the budget of who uploads them.
func (s *Server) charge(ctx context.Context, n int) time.Duration {
	if s.limit == nil {
		return 0
	}
	return s.limit.Charge(decisionapi.IdentityOf(ctx), n)
}

// uploader is who uploads.
func uploader(ctx context.Context) uploadsapi.Caller {
	id := decisionapi.IdentityOf(ctx)
	return uploadsapi.Caller{Principal: audit.CallerOf(ctx).Principal, Node: id.Node, AnyNode: id.Has(wire.ScopeAssert)}
}

// opas are the OPAs that uploaded their status, one for each of their bundles.
func (s *Server) opas() []fleet.OPA {
	if s.uploads == nil {
		return nil
	}
	var list []fleet.OPA
	for _, in := range s.uploads.Instances() {
		for _, b := range in.Bundles {
			list = append(list, fleet.OPA{
				ID: in.ID, Labels: in.Labels, Bundle: b.Name, Revision: b.Revision, Activated: b.Activated, Arrived: in.Seen,
				Code: cmp.Or(b.Code, in.LogsCode), Message: cmp.Or(b.Message, in.LogsMessage),
			})
		}
	}
	return list
}
