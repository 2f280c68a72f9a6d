package keyring

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"

	"github.com/westworld-charter/charter/internal/ledger"
)

// Limits of a list of public keys.
const (
	maxPublic = 64 << 10 // bytes
	maxKeys   = 256
)

// ErrPublic marks a list of public keys that cannot be read.
var ErrPublic = errors.New("not a list of public keys of a ledger")

// Public is a public key of a ledger.
type Public struct {
	Key string // NAME+HASH+BASE64, as [note.NewVerifier] reads it
	// From inclusive and To exclusive are the sizes of the log that it counts for;
	// To 0 is no end. Without a Ranged one it counts for all.
	From, To uint64
	Ranged   bool
}

// Verifier returns what verifies signatures of the key, of its sizes alone.
func (p Public) Verifier() (note.Verifier, error) {
	v, err := note.NewVerifier(p.Key)
	if err != nil || !p.Ranged {
		return v, err
	}
	return ledger.KeyRange(v, p.From, p.To), nil
}

func (p Public) String() string {
	switch {
	case !p.Ranged:
		return p.Key
	case p.To == 0:
		return fmt.Sprintf("%s %d-", p.Key, p.From)
	}
	return fmt.Sprintf("%s %d-%d", p.Key, p.From, p.To)
}

// ParsePublic reads public keys, one on a line, the current one first. After a key
// may stand the sizes for which it counts, FROM-TO or FROM-. Empty lines and lines
// that begin with # are passed over. The error wraps [ErrPublic], names the line
// and repeats nothing of a private key.
func ParsePublic(text []byte) ([]Public, error) {
	if len(text) > maxPublic {
		return nil, fmt.Errorf("%w: longer than %d bytes", ErrPublic, maxPublic)
	}
	var keys []Public
	seen := map[string]int{}
	number := 0
	for line := range strings.Lines(string(text)) {
		number++
		fields := strings.Fields(line)
		if len(fields) == 0 || strings.HasPrefix(fields[0], "#") {
			continue
		}
		p, err := parseLine(fields)
		if err == nil && seen[p.Key] > 0 {
			err = fmt.Errorf("the key of line %d again", seen[p.Key])
		}
		if err == nil && len(keys) == maxKeys {
			err = fmt.Errorf("more than %d keys", maxKeys)
		}
		if err != nil {
			return nil, fmt.Errorf("%w: line %d: %w", ErrPublic, number, err)
		}
		seen[p.Key] = number
		keys = append(keys, p)
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("%w: no key is in it", ErrPublic)
	}
	return keys, nil
}

func parseLine(fields []string) (Public, error) {
	p := Public{Key: fields[0]}
	if strings.HasPrefix(p.Key, "PRIVATE+KEY+") {
		return p, errors.New("this is a private key; the public one is needed, and nobody else should read this")
	}
	if _, err := note.NewVerifier(p.Key); err != nil {
		return p, errors.New("not a public key (NAME+HASH+BASE64)")
	}
	if len(fields) == 1 {
		return p, nil
	}
	first, last, ok := strings.Cut(fields[1], "-")
	var err error
	if p.From, err = strconv.ParseUint(first, 10, 63); err == nil && last != "" {
		p.To, err = strconv.ParseUint(last, 10, 63)
	}
	if !ok || err != nil || len(fields) > 2 || last != "" && p.To <= p.From {
		return p, errors.New("after the key are not sizes FROM-TO of a ledger")
	}
	p.Ranged = true
	return p, nil
}
