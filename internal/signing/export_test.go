package signing

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
)

// NewKey returns a key that was never in a file: encrypting one takes a quarter of a
// second.
func NewKey() (Key, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return Key{}, err
	}
	return newKey(key)
}
