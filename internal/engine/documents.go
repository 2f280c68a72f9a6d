package engine

import (
	"reflect"
	"sync"
	"sync/atomic"

	"github.com/open-policy-agent/opa/v1/ast"
)

const (
	// smallDocument is how many values a document may hold to be kept in OPA's
	// form. Rows of tables are small; whole tables may not be.
	smallDocument = 1000
	// keptDocuments bounds how many are kept, at about a kilobyte each: every row
	// of a usual charter, and no more than a part of a huge one.
	keptDocuments = 16_384
)

// documents gives evaluations the base documents that rules refer to. It
// implements OPA's topdown.BaseCache.
//
// Left to itself OPA reads what a rule refers to from the store and converts it
// from JSON to its own form, in every evaluation anew. Here a small object is
// converted once and shared: values in OPA's form are safe for concurrent
// readers, and the data never changes. Large documents are left to OPA, which
// converts of them what is looked at.
type documents struct {
	data map[string]any // JSON, never changed
	kept sync.Map       // ast.Value by the address of the object in data; nil when it is large
	size atomic.Int64   // of kept
}

// Get returns the document at ref; nil lets OPA look for itself.
func (d *documents) Get(ref ast.Ref) ast.Value {
	var native any = d.data
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
	object, ok := native.(map[string]any)
	if !ok {
		return converted(native)
	}
	address := reflect.ValueOf(object).UnsafePointer()
	if known, ok := d.kept.Load(address); ok {
		value, _ := known.(ast.Value)
		return value
	}
	value := converted(object)
	if d.size.Load() < keptDocuments {
		if _, known := d.kept.LoadOrStore(address, value); !known {
			d.size.Add(1)
		}
	}
	return value
}

// Put is told what Get did not have: large documents.
func (*documents) Put(ast.Ref, ast.Value) {}

// converted is a JSON value in OPA's form, nil when it is large.
func converted(native any) ast.Value {
	room := smallDocument
	if !fits(native, &room) {
		return nil
	}
	value, err := ast.InterfaceToValue(native)
	if err != nil {
		return nil
	}
	return value
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
