package witness

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/tlog"
)

// maxProof is the number of lines of a consistency proof that may be sent.
const maxProof = 63

// maxRequest is the size in bytes of the largest add-checkpoint request: a full
// proof and a checkpoint with sixteen signatures of the largest kind.
const maxRequest = 128 << 10

// request is the body of add-checkpoint.
type request struct {
	old   int64
	proof tlog.TreeProof
	note  []byte // the signed checkpoint
}

// parseRequest reads a body; errors say which line is wrong.
func parseRequest(body []byte) (request, error) {
	var r request
	head, signed, found := bytes.Cut(body, []byte("\n\n"))
	if !found {
		return r, errors.New("there is no empty line before the checkpoint")
	}
	first, rest, more := strings.Cut(string(head), "\n")
	number, ok := strings.CutPrefix(first, "old ")
	if ok {
		r.old, ok = parseSize(number)
	}
	if !ok {
		return r, errors.New(`line 1 is not "old" and a size`)
	}
	if more {
		lines := strings.SplitN(rest, "\n", maxProof+1)
		if len(lines) > maxProof {
			return r, fmt.Errorf("the proof has more than %d lines", maxProof)
		}
		for i, line := range lines {
			h, err := parseHash(line)
			if err != nil {
				return r, fmt.Errorf("line %d is %w", i+2, err)
			}
			r.proof = append(r.proof, h)
		}
	}
	r.note = signed
	return r, nil
}

// body is what parseRequest reads.
func (r request) body() []byte {
	var b bytes.Buffer
	b.WriteString("old " + strconv.FormatInt(r.old, 10) + "\n")
	for _, h := range r.proof {
		b.WriteString(base64.StdEncoding.EncodeToString(h[:]) + "\n")
	}
	b.WriteString("\n")
	b.Write(r.note)
	return b.Bytes()
}
