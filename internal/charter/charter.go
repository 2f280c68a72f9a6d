// Package charter is the charter language: it reads a charter strictly, with
// every finding at once and at its exact place, resolves what it extends, and
// writes the canonical form whose digest names the charter.
//
// Start with [Load]. A charter it returns is complete: the fields are of the
// right kind, references lead somewhere, defaults are filled in, and every entry
// of an extended charter stands in it. When anything is wrong there is no
// charter at all, only diagnostics. [Charter.Canonical] is what bundles carry
// and [Parse] reads back.
//
// Conflicts between clauses, and whether a charter relaxes what its base
// protects, are questions of meaning and are answered by package compile.
package charter

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/westworld-charter/charter/internal/diag"
)

// Load reads the charter at path and everything it extends, within
// [DefaultLimits]. The charter is nil when the list holds errors; it may come
// with warnings. The list is sorted.
func Load(path string) (*Charter, diag.List) {
	return Loader{}.Load(path)
}

// LoadFS is [Load] with files from read, which gets the path as given, and for
// extends the slash path relative to it.
func LoadFS(read func(path string) ([]byte, error), path string) (*Charter, diag.List) {
	return Loader{Read: read}.Load(path)
}

// Parse reads one self-contained document, such as the charter of a bundle;
// extends is an error. Name stands for the file in diagnostics.
func Parse(name string, data []byte) (*Charter, diag.List) {
	return Loader{}.Parse(name, data)
}

// Loader reads charters. The zero Loader reads files within [DefaultLimits]; it
// may be used by several goroutines if Read may.
type Loader struct {
	// Limits that are zero are the default ones.
	Limits Limits
	// Read returns the content of a file; nil reads the file system.
	Read func(path string) ([]byte, error)
}

// Load is the package function [Load] with the limits and files of l.
func (l Loader) Load(name string) (*Charter, diag.List) {
	r := newReader(l, name)
	data, err := r.read(name)
	if err != nil {
		r.list.Errorf(diag.Pos{File: name}, codeUnreadable, "the charter cannot be read: %v", reason(err))
		return nil, r.list
	}
	return r.finish(r.load(name, data, nil))
}

// Parse is the package function [Parse] with the limits of l.
func (l Loader) Parse(name string, data []byte) (*Charter, diag.List) {
	r := newReader(l, name)
	doc := r.document(name, data)
	if doc == nil {
		return r.finish(nil)
	}
	if doc.Has("extends") {
		r.list.Errorf(doc.Field("extends"), codeExtendsRefused, "a self-contained charter extends nothing").
			Fix = "use the compiled, flattened charter"
	}
	return r.finish(r.complete(doc, nil))
}

// reader is one Load under way.
type reader struct {
	Loader
	planner *planner
	main    string // the file that was asked for
	list    diag.List
	total   int
}

func newReader(l Loader, main string) *reader {
	l.Limits = l.Limits.orDefault()
	if l.Read == nil {
		l.Read = func(name string) ([]byte, error) { return readFile(name, l.Limits.DocumentBytes) }
	}
	return &reader{Loader: l, main: main, planner: newPlanner()}
}

// readFile reads at most one byte more than the limit.
func readFile(name string, limit int) ([]byte, error) {
	f, err := os.Open(filepath.FromSlash(name))
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(f, int64(limit)+1))
	return data, errors.Join(err, f.Close())
}

// reason is err without the path, which the diagnostic has already.
func reason(err error) error {
	var pe *os.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}

func (r *reader) read(name string) ([]byte, error) {
	data, err := r.Loader.Read(name)
	if err != nil {
		return nil, fmt.Errorf("read charter: %w", err)
	}
	return data, nil
}

// load decodes a document and those it extends, and flattens them. Chain holds
// the documents that led here.
func (r *reader) load(name string, data []byte, chain []*document) *Charter {
	doc := r.document(name, data)
	if doc == nil {
		return nil
	}
	if doc.Extends == "" {
		return r.complete(doc, nil)
	}
	base := r.base(doc, append(chain, doc))
	if base == nil {
		return nil
	}
	return r.complete(doc, base)
}

// complete flattens a document and checks the result.
func (r *reader) complete(doc *document, base *Charter) *Charter {
	c := r.flatten(doc, base)
	r.check(c, doc.broken)
	return c
}

// base loads what doc extends; nil after errors.
func (r *reader) base(doc *document, chain []*document) *Charter {
	pos := doc.Field("extends")
	name := path.Join(path.Dir(filepath.ToSlash(doc.file)), doc.Extends)
	for _, seen := range chain {
		if path.Clean(filepath.ToSlash(seen.file)) == name {
			d := r.list.Errorf(pos, codeExtendsCycle, "%s extends itself through %s", seen.file, chainNames(chain))
			d.Fix = "remove one extends of the circle"
			d.Related = []diag.Related{{Pos: chain[0].Field("extends"), Message: "the circle was entered here"}}
			return nil
		}
	}
	if len(chain) >= r.Limits.Extends {
		r.list.Errorf(pos, codeExtendsLimit, "more than %d charters extend one another", r.Limits.Extends)
		return nil
	}
	data, err := r.read(name)
	if err != nil {
		r.list.Errorf(pos, codeExtendsUnreadable, "%s cannot be read: %v", name, reason(err)).
			Fix = "the path is relative to the file that extends"
		return nil
	}
	before := len(r.list)
	base := r.load(name, data, chain)
	if r.list[before:].HasErrors() {
		return nil
	}
	return base
}

func chainNames(chain []*document) string {
	names := make([]string, len(chain))
	for i, doc := range chain {
		names[i] = doc.file
	}
	return strings.Join(names, ", ")
}

// document is one file, decoded but not flattened.
type document struct {
	*Charter
	broken map[string]bool // fields in which errors were found
}

// document decodes one file; nil when nothing could be made of it.
func (r *reader) document(name string, data []byte) *document {
	r.total += len(data)
	pos := diag.Pos{File: name}
	switch {
	case len(data) > r.Limits.DocumentBytes:
		r.list.Errorf(pos, codeTooLarge, "the charter is larger than %d bytes", r.Limits.DocumentBytes)
		return nil
	case r.total > r.Limits.TotalBytes:
		r.list.Errorf(pos, codeTooLarge, "with what it extends the charter is larger than %d bytes", r.Limits.TotalBytes)
		return nil
	}
	text, ok := checkText(name, data, &r.list)
	if !ok {
		return nil
	}
	root := parseYAML(name, text, r.Limits, &r.list)
	if root == nil {
		return nil
	}
	d := decoder{planner: r.planner, file: name, list: &r.list, limit: r.Limits.Findings, broken: make(map[string]bool)}
	return &document{Charter: d.charter(root), broken: d.broken}
}

// finish sorts the findings and drops the charter if any is an error. Warnings
// about a base are for those who load the base.
func (r *reader) finish(c *Charter) (*Charter, diag.List) {
	full := len(r.list) >= r.Limits.Findings // then not everything was read
	r.list = slices.DeleteFunc(r.list, func(d diag.Diagnostic) bool {
		return d.Severity == diag.Warning && d.Pos.File != r.main
	})
	r.list.Sort()
	if full {
		r.list = r.list[:min(len(r.list), r.Limits.Findings)]
		r.list.Errorf(diag.Pos{File: r.main}, codeTooMany, "there are more than %d findings; the rest is not shown", r.Limits.Findings).Fix = "mend these first"
	}
	if r.list.HasErrors() {
		return nil, r.list
	}
	if c != nil {
		c.places = c.placed()
	}
	return c, r.list
}

// Base is the flattened charter that c extends, nil when it extends none.
func (c *Charter) Base() *Charter { return c.base }
