package charter

import (
	"bytes"
	"encoding/json"
	"reflect"
)

// SchemaID is the identifier of the JSON Schema that [Schema] returns.
const SchemaID = "https://raw.githubusercontent.com/westworld-charter/charter/main/docs/charter.schema.json"

// Schema is the JSON Schema (draft 2020-12) of the charter document, made from
// the declarations that the decoder uses. It describes the shape of one
// document; references between its parts are beyond a schema.
func Schema() []byte {
	p := newPlanner()
	s := structSchema(p.plan(reflect.TypeFor[Charter]()))
	root := object{
		{"$schema", "https://json-schema.org/draft/2020-12/schema"},
		{"$id", SchemaID},
		{"title", "Charter"},
	}
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(append(root, s...)); err != nil {
		return nil // all values are strings, numbers and lists of them
	}
	return out.Bytes()
}

// object is a JSON object that keeps its order.
type object []member

type member struct {
	name  string
	value any
}

// MarshalJSON writes the members in order.
func (o object) MarshalJSON() ([]byte, error) {
	var out bytes.Buffer
	out.WriteByte('{')
	for i, m := range o {
		if i > 0 {
			out.WriteByte(',')
		}
		enc := json.NewEncoder(&out)
		enc.SetEscapeHTML(false)
		if err := enc.Encode(m.name); err != nil {
			return nil, err
		}
		out.WriteByte(':')
		if err := enc.Encode(m.value); err != nil {
			return nil, err
		}
	}
	out.WriteByte('}')
	return out.Bytes(), nil
}

func structSchema(p *plan) object {
	properties := make(object, 0, len(p.fields))
	var required []string
	for i := range p.fields {
		f := &p.fields[i]
		properties = append(properties, member{f.name, fieldSchema(f)})
		if f.rule.required {
			required = append(required, f.name)
		}
	}
	s := object{{"type", "object"}, {"properties", properties}}
	if len(required) > 0 {
		s = append(s, member{"required", required})
	}
	return append(s, member{"additionalProperties", false})
}

func fieldSchema(f *field) object {
	var s object
	if f.doc != "" {
		s = append(s, member{"description", f.doc})
	}
	switch f.shape {
	case shapeBool:
		return append(s, member{"type", "boolean"})
	case shapeInt:
		return append(append(s, member{"type", "integer"}), bounds(f)...)
	case shapeNumber:
		return append(append(s, member{"type", "number"}), bounds(f)...)
	case shapeTexts:
		s = append(s, member{"type", "array"}, member{"items", textSchema(&f.rule)})
		return append(s, listRules(f)...)
	case shapeSection:
		return append(s, structSchema(f.elem)...)
	case shapeEntries:
		s = append(s, member{"type", "array"}, member{"items", structSchema(f.elem)})
		return append(s, listRules(f)...)
	case shapeTextMap:
		return append(s, member{"type", "object"}, member{"additionalProperties", object{{"type", "string"}, {"minLength", 1}}})
	case shapeCategories:
		clauses := object{{"type", "array"}, {"items", structSchema(f.elem)}, {"minItems", 1}}
		return append(s, member{"type", "object"},
			member{"propertyNames", object{{"pattern", patterns()["name"].expr}}},
			member{"additionalProperties", clauses})
	}
	return append(s, textSchema(&f.rule)...)
}

func bounds(f *field) object {
	if !f.rule.bounded {
		return nil
	}
	return object{{"minimum", f.rule.min}, {"maximum", f.rule.max}}
}

func listRules(f *field) object {
	var s object
	if f.rule.required || f.rule.nonempty {
		s = append(s, member{"minItems", 1})
	}
	if f.rule.unique {
		s = append(s, member{"uniqueItems", true})
	}
	return s
}

func textSchema(r *rule) object {
	s := object{{"type", "string"}}
	switch {
	case len(r.enum) > 0:
		s = append(s, member{"enum", r.enum})
	case r.pattern != nil:
		s = append(s, member{"pattern", r.pattern.expr})
	default:
		s = append(s, member{"minLength", 1})
	}
	return s
}
