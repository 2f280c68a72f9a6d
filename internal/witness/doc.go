// Package witness lets others vouch that a ledger only ever grew.
//
// A [Server] is a witness (C2SP tlog-witness): it remembers the latest checkpoint
// of every log that it knows and cosigns another one only when that is proven to
// continue it. A [Client] is the log's side: it asks the witnesses of a [Policy]
// (C2SP tlog-policy) for their cosignatures (C2SP tlog-cosignature, Ed25519).
// Start with [Open] or with [ParsePolicy] and [NewClient].
//
// Guaranteed are: what a witness has cosigned is on its disk before the
// cosignature leaves, so neither a crash nor a race makes it vouch for less, or
// for another history; a log that showed it two histories is refused and the
// proof of that is kept; the client believes no witness without a signature,
// neither its own over the checkpoint, nor the log's over what it claims to hold.
package witness
