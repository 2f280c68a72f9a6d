package plan

import (
	"errors"
	"reflect"
	"sync"
	"sync/atomic"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/util"
)

const (
	// smallDocument is how many values a document may hold to be kept in OPA's
	// form. Rows of tables are small; whole tables may not be.
	smallDocument = 1000
	// keptDocuments bounds how many are kept, at about a kilobyte each: every row
	// of a usual charter, and no more than a part of a huge one.
	keptDocuments = 16_384
)

// Base gives evaluations the base documents that rules refer to: JSON values with
// json.Number for numbers, which must not be changed. It is safe for concurrent use,
// and implements topdown.BaseCache, so that both evaluators can share one.
//
// Left to itself OPA reads what a rule refers to from its store and converts it
// from JSON to its own form, in every evaluation anew. Here a small object is
// converted once and shared: values in OPA's form are safe for concurrent readers.
// Of large documents only what is looked at is converted.
type Base struct {
	data map[string]any
	kept sync.Map     // *ast.Term by the address of the object in data
	size atomic.Int64 // of kept
}

// NewBase returns the documents below the root data. It takes no time; documents
// are converted when they are asked for.
func NewBase(data map[string]any) *Base { return &Base{data: data} }

// Get returns the document at ref, as topdown asks for it; nil lets topdown look for
// itself, in its store.
func (b *Base) Get(ref ast.Ref) ast.Value {
	var native any = b.data
	for _, key := range ref[1:] {
		object, _ := native.(map[string]any)
		name, ok := key.Value.(ast.String)
		if !ok {
			return nil
		}
		if native, ok = object[string(name)]; !ok {
			return nil
		}
	}
	term := b.term(native)
	if term == nil {
		return nil
	}
	if _, large := term.Value.(*table); large {
		return nil
	}
	return term.Value
}

// Put is told what Get did not have: large documents.
func (*Base) Put(ast.Ref, ast.Value) {}

// lookup returns the document at a path of keys, nil when there is none.
func (b *Base) lookup(path []string) *ast.Term {
	var native any = b.data
	for _, key := range path {
		if list, ok := native.([]any); ok && indexes(key, len(list)) {
			return unclear
		}
		object, _ := native.(map[string]any)
		member, ok := object[key]
		if !ok {
			return nil // a text is no key of anything but an object
		}
		native = member
	}
	return b.term(native)
}

// term is a JSON value in OPA's form: a [table] when it is a large object, nil when it
// cannot be converted.
func (b *Base) term(native any) *ast.Term {
	object, ok := native.(map[string]any)
	if !ok {
		value, err := ast.InterfaceToValue(native)
		if err != nil {
			return nil
		}
		return ast.NewTerm(value)
	}
	address := reflect.ValueOf(object).UnsafePointer()
	if known, ok := b.kept.Load(address); ok {
		return known.(*ast.Term)
	}
	room := smallDocument
	term := &ast.Term{Value: &table{native: object, base: b}}
	if fits(object, &room) {
		value, err := ast.InterfaceToValue(object)
		if err != nil {
			return nil
		}
		term = ast.NewTerm(value)
	}
	if b.size.Load() < keptDocuments {
		if _, known := b.kept.LoadOrStore(address, term); !known {
			b.size.Add(1)
		}
	}
	return term
}

// fits takes the number of values from room; false when there is not enough.
func fits(native any, room *int) bool {
	*room--
	switch v := native.(type) {
	case map[string]any:
		for _, member := range v {
			if *room <= 0 || !fits(member, room) {
				return false
			}
		}
	case []any:
		for _, member := range v {
			if *room <= 0 || !fits(member, room) {
				return false
			}
		}
	}
	return *room >= 0
}

// table is a large object of the base documents. It stands for itself only while a
// key is looked up in it; whoever needs all of it gets [table.object].
type table struct {
	native map[string]any
	base   *Base
}

// get returns the value under a key, nil when there is none.
func (t *table) get(key *ast.Term) *ast.Term {
	name, ok := key.Value.(ast.String)
	if !ok {
		return nil
	}
	native, ok := t.native[string(name)]
	if !ok {
		return nil
	}
	return t.base.term(native)
}

// object is the table in OPA's form, converted where it is looked at. It belongs to
// one evaluation: OPA's lazy objects are not safe for concurrent use.
func (t *table) object() ast.Object { return ast.LazyObject(t.native) }

// What follows makes a table an [ast.Value], so that it fits into a term.

func (t *table) Compare(other ast.Value) int          { return t.object().Compare(other) }
func (t *table) Find(path ast.Ref) (ast.Value, error) { return t.object().Find(path) }
func (t *table) Hash() int                            { return t.object().Hash() }
func (*table) IsGround() bool                         { return true }
func (t *table) String() string                       { return t.object().String() }
func (t *table) StringLength() int                    { return len(t.String()) }

// solid is a term without a table.
func solid(t *ast.Term) *ast.Term {
	if t != nil {
		if large, ok := t.Value.(*table); ok {
			return ast.NewTerm(large.object())
		}
	}
	return t
}

// errStore says that topdown would find a document under another key than the given one.
var errStore = errors.New("the key is one of OPA's store alone")

// storeKnows reports whether a key that source does not have might all the same be one
// under which topdown finds something: it asks its store for base documents, which takes
// the text of a number for a key of an object, and "1" for the index of an array. What
// is no base document knows nothing of this, so only topdown can tell.
func storeKnows(source, key *ast.Term) bool {
	if source == nil || key == nil {
		return false
	}
	switch k := key.Value.(type) {
	case ast.Number:
		text := ast.StringTerm(k.String())
		switch v := source.Value.(type) {
		case *table:
			return v.get(text) != nil
		case ast.Object:
			return v.Get(text) != nil
		}
	case ast.String:
		if v, ok := source.Value.(*ast.Array); ok {
			return indexes(string(k), v.Len())
		}
	}
	return false
}

// indexes reports whether a text is the index of an array of n elements for the store.
func indexes(text string, n int) bool {
	i, ok := util.Atoi(text)
	return ok && i >= 0 && i < n
}

// unclear stands for a base document that only topdown can look up.
var unclear = &ast.Term{}
