// Package audit records what a service decides in the ledger, as the audit
// section of the charter demands: denials one by one, allowances as exact counts
// per window of time.
//
// An [Auditor] stands between who asks and who decides: it is a Decider over
// another one. Guaranteed are: a denial is in the ledger, durably, before it is
// answered, or it is counted as missing and a gap entry says so as soon as the
// ledger takes entries again, also when the process dies before that; an allowance
// that cannot be recorded is not given ([ErrUnavailable]); a window is announced in
// the ledger before anything is counted in it, so that counts which a crash loses
// are known to be missing; no label value is recorded. [Auditor.Report] records what
// others decided with the same policy, such as stock OPAs, once however often they report
// it, and never as what a node itself did.
package audit
