// Package tlog checks that the ledger speaks the protocols of C2SP as other
// programs do: Tessera's fsck reads the tiles of a ledger, a log of Tessera is
// cosigned by our witness, and both sides verify each other's cosignatures.
package tlog
