package charterapi

import (
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/westworld-charter/charter/internal/charter"
)

// Difference is what is written otherwise in one charter than in another. It says
// nothing about what follows for decisions.
type Difference struct {
	Added   []Entry `json:"added"`
	Removed []Entry `json:"removed"`
	Changed []Entry `json:"changed"`
	// Sections are the other fields of the document that differ, such as committee.
	Sections []string `json:"sections"`
	// Constitutional are the sections and protected entries among these that say how the
	// charter itself is governed.
	Constitutional []string `json:"constitutional,omitempty"`
}

// Entry is an entry with a clause id.
type Entry struct {
	ID        string   `json:"id"`
	Kind      string   `json:"kind"` // metrics, forbidden, waivers or limits
	Location  string   `json:"location"`
	Fields    []string `json:"fields,omitempty"` // that differ
	Protected bool     `json:"protected,omitempty"`
}

// item is an entry of a charter with its value.
type item struct {
	Entry
	value reflect.Value
}

// Compare tells how two charters differ, entry by entry and field by field, both
// flattened.
func Compare(before, after *charter.Charter) Difference {
	d := Difference{Added: []Entry{}, Removed: []Entry{}, Changed: []Entry{}, Sections: []string{}}
	old, next := itemsOf(before), itemsOf(after)
	for _, id := range slices.Sorted(maps.Keys(next)) {
		x := next[id]
		was, known := old[id]
		switch {
		case !known:
			d.Added = append(d.Added, x.Entry)
		case was.Kind != x.Kind:
			x.Fields, x.Protected = []string{"kind"}, x.Protected || was.Protected
			d.Changed = append(d.Changed, x.Entry)
		default:
			if x.Fields = fieldsThatDiffer(was.value, x.value); len(x.Fields) > 0 {
				x.Protected = x.Protected || was.Protected
				d.Changed = append(d.Changed, x.Entry)
			}
		}
	}
	for _, id := range slices.Sorted(maps.Keys(old)) {
		if _, still := next[id]; !still {
			d.Removed = append(d.Removed, old[id].Entry)
		}
	}
	for _, name := range fieldsThatDiffer(reflect.ValueOf(before).Elem(), reflect.ValueOf(after).Elem()) {
		if !slices.Contains([]string{"metrics", "forbidden", "waivers", "limits"}, name) {
			d.Sections = append(d.Sections, name)
		}
	}
	return d
}

// itemsOf are the entries of a charter by their ids, which are unique in it.
func itemsOf(c *charter.Charter) map[string]item {
	items := map[string]item{}
	add := func(kind, id string, protected bool, v any) {
		e := Entry{ID: id, Kind: kind, Protected: protected}
		if at, ok := c.Place(id); ok {
			e.Location = at.String()
		}
		items[id] = item{e, reflect.ValueOf(v).Elem()}
	}
	for _, x := range c.AllClauses() {
		add("metrics", x.ID, x.Protected, x)
	}
	for i := range c.Forbidden {
		add("forbidden", c.Forbidden[i].ID, c.Forbidden[i].Protected, &c.Forbidden[i])
	}
	for i := range c.Waivers {
		add("waivers", c.Waivers[i].ID, false, &c.Waivers[i])
	}
	for i := range c.Limits {
		add("limits", c.Limits[i].ID, false, &c.Limits[i])
	}
	return items
}

// fieldsThatDiffer names those of two structs, as the document does.
func fieldsThatDiffer(a, b reflect.Value) []string {
	var names []string
	for i := range a.NumField() {
		f := a.Type().Field(i)
		if !f.IsExported() || f.Anonymous || equal(a.Field(i), b.Field(i)) {
			continue
		}
		name := f.Tag.Get("yaml")
		if name == "" || name == "-" {
			name = strings.ToLower(f.Name)
		}
		names = append(names, name)
	}
	return names
}

// equal compares what is written, and not where.
func equal(a, b reflect.Value) bool {
	switch a.Kind() {
	case reflect.Struct:
		return len(fieldsThatDiffer(a, b)) == 0
	case reflect.Pointer:
		return a.IsNil() == b.IsNil() && (a.IsNil() || equal(a.Elem(), b.Elem()))
	case reflect.Slice:
		if a.Len() != b.Len() {
			return false
		}
		for i := range a.Len() {
			if !equal(a.Index(i), b.Index(i)) {
				return false
			}
		}
		return true
	case reflect.Map:
		if a.Len() != b.Len() {
			return false
		}
		for _, key := range a.MapKeys() {
			other := b.MapIndex(key)
			if !other.IsValid() || !equal(a.MapIndex(key), other) {
				return false
			}
		}
		return true
	default:
		return a.Interface() == b.Interface()
	}
}
