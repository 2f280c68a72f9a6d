// Package ledger keeps a record of what was decided that nobody can alter, drop
// or reorder unseen: an append-only Merkle tree of entries (RFC 6962, C2SP tlog)
// whose head is signed with Ed25519.
//
// An [Entry] is canonical JSON. A [Log] appends entries, many at a time, and
// acknowledges one only when it and a signed checkpoint that covers it are
// durable. A [Reader] proves what is in the log, and [Verify] checks all of it
// against keys and witnesses. Where entries are kept is a [Store].
//
// Guaranteed are: what was acknowledged is there after a crash, once and in
// order; a log that holds less than a head known outside of it is refused; a
// failure to commit stops the log instead of being tried again; label values
// never enter an entry.
package ledger
