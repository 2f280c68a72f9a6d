package witness

import (
	"encoding/base64"
	"errors"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/tlog"
)

// checkpoint is what the text of a checkpoint says (C2SP tlog-checkpoint).
type checkpoint struct {
	origin string
	size   int64
	root   tlog.Hash
}

var errCheckpoint = errors.New("not a checkpoint: origin, size and root hash are needed, each on a line of its own")

// parseCheckpoint reads the text of a note. Extension lines are allowed and mean
// nothing here.
func parseCheckpoint(text string) (checkpoint, error) {
	lines := strings.Split(text, "\n")
	if len(lines) < 4 || lines[len(lines)-1] != "" { // the text ends in a newline
		return checkpoint{}, errCheckpoint
	}
	for _, line := range lines[:len(lines)-1] {
		if line == "" {
			return checkpoint{}, errCheckpoint
		}
	}
	size, ok := parseSize(lines[1])
	root, err := parseHash(lines[2])
	if !ok || err != nil {
		return checkpoint{}, errCheckpoint
	}
	return checkpoint{origin: lines[0], size: size, root: root}, nil
}

// maxSize is the largest size of a log: tlog computes with powers of two up to
// the next one, in 64 bits with a sign, and would not come back.
const maxSize = 1 << 62

// parseSize reads a number in its only form: decimal, without sign and leading
// zeroes.
func parseSize(s string) (int64, bool) {
	n, err := strconv.ParseInt(s, 10, 64)
	return n, err == nil && n >= 0 && n <= maxSize && strconv.FormatInt(n, 10) == s
}

// hashLength is that of a hash in base64. The decoder would skip newlines and
// carriage returns in a longer text.
const hashLength = 44

func parseHash(s string) (tlog.Hash, error) {
	var h tlog.Hash
	if len(s) != hashLength {
		return h, errors.New("not a hash in base64")
	}
	raw, err := base64.StdEncoding.Strict().DecodeString(s)
	if err != nil || len(raw) != tlog.HashSize {
		return h, errors.New("not a hash in base64")
	}
	return tlog.Hash(raw), nil
}

// originOf is the first line of a note.
func originOf(signed string) string {
	origin, _, _ := strings.Cut(signed, "\n")
	return origin
}
