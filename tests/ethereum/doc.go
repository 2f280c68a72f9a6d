// Package ethereum checks that members of a committee can sign with the wallets they
// have: go-ethereum hashes the typed data of requests to the same digest, makes the
// same signatures, recovers the same addresses and opens the same key files. It also
// writes the vectors of internal/committee (-update).
package ethereum
