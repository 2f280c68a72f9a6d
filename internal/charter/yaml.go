package charter

import (
	"bytes"
	"errors"
	"io"

	"gopkg.in/yaml.v3"

	"github.com/westworld-charter/charter/internal/diag"
	"github.com/westworld-charter/charter/internal/yamldoc"
)

// parseYAML reads exactly one YAML document and returns its root value. Trees
// it returns are within the limits, had no tags and no merge keys, and their
// columns count bytes.
func parseYAML(file string, text []byte, lim Limits, list *diag.List) *node {
	if bytes.IndexByte(text, '\t') < 0 && bytes.IndexByte(text, '\r') < 0 {
		if root, ok := parsePlain(text, lim); ok {
			return root
		}
	}
	dec := yaml.NewDecoder(bytes.NewReader(text))
	doc, err := yamldoc.Next(dec)
	switch {
	case errors.Is(err, io.EOF) || err == nil && (len(doc.Content) != 1 || doc.Content[0].Tag == "!!null"):
		list.Errorf(diag.Pos{File: file}, codeEmpty, "the file holds no charter").Fix = "begin with apiVersion: charter/v1"
		return nil
	case err != nil:
		syntaxError(file, text, dec, err, list)
		return nil
	}
	if next, err := yamldoc.Next(dec); err == nil {
		list.Errorf(diag.Pos{File: file, Line: next.Line, Col: next.Column}, codeDocuments, "a second YAML document begins here").
			Fix = "write one charter per file"
		return nil
	} else if !errors.Is(err, io.EOF) {
		syntaxError(file, text, dec, err, list)
		return nil
	}
	before := len(*list)
	in := inspector{file: file, lim: lim, list: list, cols: newColumns(text)}
	root, _ := in.tree(doc.Content[0], 1)
	if (*list)[before:].HasErrors() {
		return nil
	}
	return root
}

// inspector turns a tree of the library into nodes, and refuses what charters
// may not use.
type inspector struct {
	file     string
	lim      Limits
	list     *diag.List
	cols     *columns
	anchored map[*yaml.Node]anchored
	stopped  bool
}

// anchored is a value that aliases refer to.
type anchored struct {
	node   *node
	weight int // values it stands for with aliases written out; 0 while it is read
}

// tree converts a value and everything in it, and returns the number of values
// it stands for with aliases written out.
func (in *inspector) tree(n *yaml.Node, depth int) (*node, int) {
	out := &node{tag: tagOf(n.Tag), line: int32(n.Line), col: int32(in.cols.byteCol(n.Line, n.Column)), text: n.Value}
	switch {
	case in.stopped || len(*in.list) >= in.lim.Findings:
		return out, 0
	case depth > in.lim.Depth:
		in.stop(out, codeTooDeep, "values nest deeper than %d levels", in.lim.Depth)
		return out, 0
	case n.Kind == yaml.AliasNode:
		target := in.anchored[n.Alias]
		if target.weight == 0 {
			in.stop(out, codeAliasBomb, "the value *%s contains itself", n.Value)
			return out, 0
		}
		return target.node, target.weight
	case n.Style&yaml.TaggedStyle != 0:
		in.list.Errorf(in.at(out), codeTag, "the YAML tag %s is not allowed", n.Tag).Fix = "remove the tag; quote text that looks like a number"
	}
	if n.Anchor != "" && in.anchored == nil {
		in.anchored = make(map[*yaml.Node]anchored)
	}
	weight := in.children(n, out, depth)
	if n.Anchor != "" {
		in.anchored[n] = anchored{out, weight}
	}
	return out, weight
}

func (in *inspector) children(n *yaml.Node, out *node, depth int) int {
	switch n.Kind {
	case yaml.SequenceNode:
		out.kind = listNode
	case yaml.MappingNode:
		out.kind = mappingNode
	default:
		return 1
	}
	weight := 1
	out.items = make([]*node, len(n.Content))
	for i, child := range n.Content {
		item, w := in.tree(child, depth+1)
		out.items[i] = item
		if out.kind == mappingNode && i%2 == 0 && child.Tag == "!!merge" {
			in.list.Errorf(in.at(item), codeMergeKey, "the merge key << is not allowed").Fix = "write the fields out"
		}
		if weight += w; weight > in.lim.Nodes {
			in.tooMany(out)
			break
		}
	}
	return weight
}

func (in *inspector) tooMany(n *node) {
	if in.anchored != nil {
		in.stop(n, codeAliasBomb, "with its aliases written out the charter holds more than %d values", in.lim.Nodes)
		return
	}
	in.stop(n, codeTooManyValues, "the charter holds more than %d values", in.lim.Nodes)
}

func (in *inspector) stop(n *node, code, format string, args ...any) {
	if !in.stopped {
		in.list.Errorf(in.at(n), code, format, args...)
	}
	in.stopped = true
}

func (in *inspector) at(n *node) diag.Pos {
	return diag.Pos{File: in.file, Line: int(n.line), Col: int(n.col)}
}
