package committee

import (
	"encoding/hex"
	"fmt"
	"strings"
)

// Address is an Ethereum address: the last 20 bytes of the Keccak-256 hash of a
// public key.
type Address [20]byte

// String is the address with the checksum of EIP-55 in the case of its letters.
func (a Address) String() string {
	text := []byte(hex.EncodeToString(a[:]))
	sum := keccak(text)
	for i, c := range text {
		nibble := sum[i/2] >> (4 * (1 - i%2)) & 0xf
		if c >= 'a' && nibble >= 8 {
			text[i] = c - 'a' + 'A'
		}
	}
	return "0x" + string(text)
}

// ParseAddress reads 0x and 40 hexadecimal digits. Digits of mixed case must be as
// EIP-55 has them; those of one case carry no checksum.
func ParseAddress(text string) (Address, error) {
	a, err := looseAddress(text)
	if err != nil {
		return a, err
	}
	digits := text[2:]
	if digits != strings.ToLower(digits) && digits != strings.ToUpper(digits) && a.String() != text {
		return a, fmt.Errorf("address %q: its letters are not those of its EIP-55 checksum; a digit must be wrong", text)
	}
	return a, nil
}

// looseAddress is ParseAddress without the checksum, as charters have addresses.
func looseAddress(text string) (a Address, err error) {
	digits, ok := strings.CutPrefix(text, "0x")
	if !ok || len(digits) != 2*len(a) {
		return a, fmt.Errorf("address %.50q: it is not 0x and 40 hexadecimal digits", text)
	}
	if _, err := hex.Decode(a[:], []byte(digits)); err != nil {
		return a, fmt.Errorf("address %q: it is not 0x and 40 hexadecimal digits", text)
	}
	return a, nil
}
