package charter

import (
	"reflect"
	"strconv"
	"strings"
)

// shape is how a field is written in YAML.
type shape int

const (
	shapeText shape = iota
	shapeBool
	shapeInt
	shapeNumber
	shapeTexts      // list of text
	shapeSection    // mapping
	shapeEntries    // list of mappings
	shapeTextMap    // mapping of text to text
	shapeCategories // mapping of a name to a list of mappings
)

// field is one field of a struct of the model, as its tags describe it.
type field struct {
	index   int
	name    string
	doc     string
	hint    string // why a value is refused
	shape   shape
	pointer bool
	rule    rule
	elem    *plan // of sections, entries and categories
}

// rule is the charter tag of a field.
type rule struct {
	required bool     // the field must be there
	nonempty bool     // an empty list would read as "any" and is an error
	unique   bool     // items are different
	set      bool     // items are different and have no order
	ordered  bool     // entries keep their order in the canonical form
	clause   bool     // entries share the namespace of clause ids
	key      string   // the field of an entry that tells entries apart
	enum     []string // the values there are
	pattern  *pattern
	bounded  bool
	min, max float64
}

// plan is how one struct of the model is decoded, encoded and described.
type plan struct {
	typ    reflect.Type
	source int // index of the embedded Source
	fields []field
}

// planner makes plans, one for each type.
type planner struct {
	plans    map[reflect.Type]*plan
	patterns map[string]*pattern
}

func newPlanner() *planner {
	return &planner{plans: make(map[reflect.Type]*plan), patterns: patterns()}
}

var sourceType = reflect.TypeFor[Source]()

func (p *planner) plan(t reflect.Type) *plan {
	if known := p.plans[t]; known != nil {
		return known
	}
	made := &plan{typ: t}
	p.plans[t] = made
	for i := range t.NumField() {
		sf := t.Field(i)
		if sf.Type == sourceType {
			made.source = i
			continue
		}
		name := sf.Tag.Get("yaml")
		if name == "" || name == "-" {
			continue
		}
		made.fields = append(made.fields, p.field(sf, i, name))
	}
	return made
}

func (p *planner) field(sf reflect.StructField, index int, name string) field {
	f := field{index: index, name: name, doc: sf.Tag.Get("doc"), hint: sf.Tag.Get("hint"), rule: p.rule(sf.Tag.Get("charter"))}
	t := sf.Type
	if t.Kind() == reflect.Pointer {
		f.pointer, t = true, t.Elem()
	}
	switch t.Kind() {
	case reflect.Bool:
		f.shape = shapeBool
	case reflect.Int:
		f.shape = shapeInt
	case reflect.Float64:
		f.shape = shapeNumber
	case reflect.Struct:
		f.shape, f.elem = shapeSection, p.plan(t)
	case reflect.Map:
		f.shape = shapeTextMap
	case reflect.Slice:
		switch {
		case t.Elem().Kind() == reflect.String:
			f.shape = shapeTexts
		case t.Elem() == reflect.TypeFor[Category]():
			f.shape, f.elem = shapeCategories, p.plan(reflect.TypeFor[Clause]())
		default:
			f.shape, f.elem = shapeEntries, p.plan(t.Elem())
		}
	default:
		f.shape = shapeText
	}
	return f
}

func (p *planner) rule(tag string) rule {
	var r rule
	for word := range strings.SplitSeq(tag, ",") {
		name, value, _ := strings.Cut(word, "=")
		switch name {
		case "required":
			r.required = true
		case "nonempty":
			r.nonempty = true
		case "set":
			r.set, r.unique = true, true
		case "unique":
			r.unique = true
		case "ordered":
			r.ordered = true
		case "clause":
			r.clause = true
		case "key":
			r.key = value
		case "enum":
			r.enum = strings.Split(value, "|")
		case "min":
			r.bounded = true
			r.min, _ = strconv.ParseFloat(value, 64)
		case "max":
			r.bounded = true
			r.max, _ = strconv.ParseFloat(value, 64)
		default:
			r.pattern = p.patterns[name]
		}
	}
	return r
}

// find returns the index of the field of that name, -1 when there is none.
func (p *plan) find(name string) int {
	for i := range p.fields {
		if p.fields[i].name == name {
			return i
		}
	}
	return -1
}

func (p *plan) names() []string {
	names := make([]string, len(p.fields))
	for i := range p.fields {
		names[i] = p.fields[i].name
	}
	return names
}
