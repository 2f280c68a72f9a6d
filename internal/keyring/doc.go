// Package keyring keeps the keys of a ledger in the data directory of its server
// and changes them: [Load] reads them, [Ring.Signers] says which of them sign,
// [Ring.Rotate] makes another one the current one, [Ring.Retire] ends the time in
// which the one before signs along.
//
// A change is a sequence of durable steps, and whoever opens the ledger next goes
// on where it was cut off ([Ring.Finish]): the next key is in its file before the
// ledger names it; the ledger names it before it takes the place of the current
// one; that one is in a file of its own by then. So at any moment the key that
// the ledger needs is on disk, and no key is lost before an entry says that it
// signs no more. What decides how far a change came is the ledger, not the files.
package keyring
