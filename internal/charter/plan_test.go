package charter

import (
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// Tags are read at run time: a misspelt one would silently check nothing.
func TestTagsAreKnown(t *testing.T) {
	known := []string{"", "required", "nonempty", "set", "unique", "ordered", "clause", "key", "enum", "min", "max", "mapping"}
	known = append(known, slices.Collect(maps.Keys(patterns()))...)
	var walk func(typ reflect.Type)
	walk = func(typ reflect.Type) {
		for typ.Kind() == reflect.Pointer || typ.Kind() == reflect.Slice {
			typ = typ.Elem()
		}
		if typ.Kind() != reflect.Struct || typ == sourceType {
			return
		}
		for i := range typ.NumField() {
			f := typ.Field(i)
			if !f.IsExported() {
				continue
			}
			for word := range strings.SplitSeq(f.Tag.Get("charter"), ",") {
				name, _, _ := strings.Cut(word, "=")
				if !slices.Contains(known, name) {
					t.Errorf("%s.%s: unknown tag %q", typ.Name(), f.Name, word)
				}
			}
			if f.Tag.Get("yaml") != "-" && f.Tag.Get("doc") == "" {
				t.Errorf("%s.%s has no doc tag", typ.Name(), f.Name)
			}
			walk(f.Type)
		}
	}
	walk(reflect.TypeFor[Charter]())
}
