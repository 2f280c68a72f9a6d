// Package export writes entries of a ledger to files that other programs read,
// and checks such files later, without the ledger.
//
// A file has a [Format] and beside it a [Manifest]: what range it holds, its
// digest, a signed checkpoint of the ledger, and the hashes that connect the
// range with it. [Write] makes both, [Check] verifies both against nothing but
// public keys. Where all entries of a range were exported, every single one is
// proven, and that none is missing between them; of a selection the first and
// the last one are.
//
// In every format a record is made from the body of the entry, and the body is
// in it; a record that says anything else than its body does not check.
package export
