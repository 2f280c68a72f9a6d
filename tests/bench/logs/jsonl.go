package logs

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"github.com/westworld-charter/charter/internal/ledger"
)

// JSONL is the usual audit log that wants to be tamper-evident: a line per entry,
// with a hash over it and the line before, synced before the next one is written.
// Nothing signs it.
func JSONL() Kind {
	return Kind{
		Name: "jsonl", Promise: "the line is written and the file synced; nothing is signed",
		Open: openJSONL, Read: func(_ context.Context, dir string) ([][]byte, error) { return readJSONL(dir) },
	}
}

// A line is {"hash":"<64 hex digits>","entry":<body>}. The hash is SHA-256 of the
// hash before, zeros at first, and the body.
const (
	beforeHash  = `{"hash":"`
	beforeEntry = `","entry":`
	afterEntry  = "}\n"
)

type chain struct {
	mu   sync.Mutex // guards what follows, and the order of lines
	file *os.File
	last [sha256.Size]byte
	size uint64
	line []byte
}

func openJSONL(_ context.Context, dir string) (Log, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	bodies, err := readJSONL(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	c := &chain{size: uint64(len(bodies))}
	for _, body := range bodies {
		c.last = linked(c.last, body)
	}
	c.file, err = os.OpenFile(linesOf(dir), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	return c, err
}

func linesOf(dir string) string { return filepath.Join(dir, "audit.jsonl") }

func linked(last [sha256.Size]byte, body []byte) [sha256.Size]byte {
	h := sha256.New()
	h.Write(last[:])
	h.Write(body)
	return [sha256.Size]byte(h.Sum(nil))
}

func (c *chain) Append(_ context.Context, e ledger.Entry) (uint64, error) {
	body, err := encode(e)
	if err != nil {
		return 0, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	hash := linked(c.last, body)
	line := append(c.line[:0], beforeHash...)
	line = hex.AppendEncode(line, hash[:])
	line = append(append(append(line, beforeEntry...), body...), afterEntry...)
	c.line = line
	if _, err := c.file.Write(line); err != nil {
		return 0, err
	}
	if err := c.file.Sync(); err != nil {
		return 0, err
	}
	c.last = hash
	c.size++
	return c.size - 1, nil
}

func (c *chain) Close() error { return c.file.Close() }

func readJSONL(dir string) (bodies [][]byte, err error) {
	f, err := os.Open(linesOf(dir))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	var last [sha256.Size]byte
	const prefix = len(beforeHash) + 2*sha256.Size + len(beforeEntry)
	for lines := bufio.NewScanner(f); lines.Scan(); {
		line := lines.Bytes()
		if len(line) < prefix+1 {
			return nil, fmt.Errorf("line %d is too short", len(bodies)+1)
		}
		body := bytes.Clone(line[prefix : len(line)-1])
		last = linked(last, body)
		if string(line[:prefix]) != beforeHash+hex.EncodeToString(last[:])+beforeEntry {
			return nil, fmt.Errorf("line %d does not continue the one before", len(bodies)+1)
		}
		bodies = append(bodies, body)
	}
	return bodies, nil
}
