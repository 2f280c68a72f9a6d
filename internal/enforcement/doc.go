// Package enforcement gives denials and reports their consequences: incidents of
// nodes, the standing that the escalation of a charter brings about, investigations,
// emergency overrides and revocations of data access.
//
// Start with [New], then [Enforcer.Recover], then [Enforcer.Run] beside whoever
// decides. [Enforcer.Denied] is called with denials that are in the ledger and not
// answered yet; it returns when what follows from them is in force.
//
// The ledger is all there is. What this package knows is a fold over the entries in
// their order (state.apply), and what it does follows from that alone (state.owed):
// it appends entries, reads them back and folds them, in a running process as after
// a crash. Guaranteed are: a node's standing changes only by incidents of its own
// authenticated identity, or reports that an investigation confirmed; each incident
// has its consequences once; another charter or other settings change nothing about
// what is recorded; no consequence is lifted but by its end, or by a quorum of the
// committee; no protected clause is overridden; what people wrote stays out of the
// ledger.
package enforcement
