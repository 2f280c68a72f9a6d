package cli

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/westworld-charter/charter/internal/activation"
	"github.com/westworld-charter/charter/internal/bundle"
	"github.com/westworld-charter/charter/internal/charter"
	"github.com/westworld-charter/charter/internal/compile"
)

// reproduce compiles the charter inside an archive again and requires identical bytes.
// It fails with the code not_reproducible.
func (p *program) reproduce(layer []byte) error {
	refuse := func(format string, args ...any) error {
		return &activation.Error{Code: activation.CodeNotReproducible, Err: fmt.Errorf(format, args...)}
	}
	b, err := bundle.Read(bytes.NewReader(layer), bundle.Limits{})
	if err != nil {
		return err
	}
	// The compiler wrote this charter: it may be as large as a bundle.
	whole := charter.Limits{DocumentBytes: maxCharter, TotalBytes: maxCharter, Nodes: maxCharterNodes}
	text, _ := b.File(bundle.CharterFile)
	c, found := charter.Loader{Limits: whole}.Parse(bundle.CharterFile, text)
	if c != nil && !found.HasErrors() {
		found = append(found, compile.Check(c)...)
	}
	if c == nil || found.HasErrors() {
		return errors.Join(p.printFindings(found), refuse("the charter inside is not valid: %s", tally(found)))
	}
	again, err := compile.Build(c)
	if err != nil {
		return refuse("the charter inside does not compile: %w", err)
	}
	for _, path := range b.Paths() {
		theirs, _ := b.File(path)
		if ours, ok := again.File(path); !ok || !bytes.Equal(ours, theirs) {
			return refuse("%s is not what charter-admin %s makes of the charter inside", path, buildVersion())
		}
	}
	var packed bytes.Buffer
	if err := again.WriteTar(&packed); err != nil {
		return err
	}
	if !bytes.Equal(packed.Bytes(), layer) {
		return refuse("a file is missing, or the archive is packed in another way than charter-admin %s packs it", buildVersion())
	}
	return nil
}

// Limits of the charter in a bundle.
const (
	maxCharter      = 64 << 20 // bytes
	maxCharterNodes = 8_000_000
)
