package wire

import "net/http"

// Scopes say what an identity may do; the list is closed.
const (
	ScopeCheck   = "check"   // ask questions, for itself unless it has assert
	ScopeAssert  = "assert"  // name any node, role and claims: a policy enforcement point
	ScopeReplay  = "replay"  // name the time of a question
	ScopeMetrics = "metrics" // scrape /metrics
	ScopeAudit   = "audit"   // read what the ledger holds
	ScopeAdmin   = "admin"   // reload, and everything on the diagnostics listener

	ScopeCommittee = "committee" // investigate violations, end and give back data access
	ScopeAlerts    = "alerts"    // tell of alerts, as Alertmanager does
	ScopeUpload    = "upload"    // upload decisions and status, as OPA does
	ScopeReport    = "report"    // tell what a node runs, for that node
)

// What a [Route] asks for beside scopes: AnyScope is everybody whose identity is proven,
// Public everybody.
const (
	AnyScope = "any"
	Public   = "public"
)

// Scopes returns the closed list of scopes.
func Scopes() []string {
	return []string{ScopeCheck, ScopeAssert, ScopeReplay, ScopeMetrics, ScopeAudit, ScopeAdmin, ScopeCommittee, ScopeAlerts, ScopeUpload, ScopeReport}
}

// Route is a handler with the method and the path, in echo's form, that it expects; GET
// includes HEAD. The handler reads the path of the request and needs no parameters of
// the router. Whoever mounts it proves identities and lets nobody pass who may not.
type Route struct {
	Method, Path string
	// Scope, or one of Or, is what a caller needs. It must be said: what is forgotten is
	// not open.
	Scope string
	Or    []string
	// Guests have no proof of identity and are let in as well. One that is brought
	// must hold. Limits of guests are the handler's.
	Guests bool
	// Unlogged requests are logged without who sent them, and from where.
	Unlogged bool
	MaxBody  int64 // in bytes, as it is sent; 0 is what the server takes
	Handler  http.Handler
}
