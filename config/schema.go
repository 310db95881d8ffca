package config

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"

	"github.com/invopop/jsonschema"

	"logto-email-relay/providers"
)

// Schema returns the JSON Schema (draft 2020-12) of a configuration file, for
// editors to complete keys and to underline mistakes. It comes from the same
// tables of keys as the loader, so that they cannot differ in what they know.
// It sees the file before ${…} is replaced and takes such a text in every place.
func Schema() ([]byte, error) {
	root := objectSchema(reflect.ValueOf(defaults()).Elem(), false)
	root.Version = jsonschema.Version
	root.Title = "Configuration of logto-email-relay"
	root.Required = []string{"server", "providers"}
	server, _ := root.Properties.Get("server")
	server.Required = []string{"authorization"}
	return json.MarshalIndent(root, "", "  ")
}

// referencing is the pattern of a text that is not final.
const referencing = `\$\{`

func orReference(schema *jsonschema.Schema) *jsonschema.Schema {
	return &jsonschema.Schema{AnyOf: []*jsonschema.Schema{schema, {Type: "string", Pattern: referencing}}}
}

// objectSchema describes a struct. Keys that must be there are named only where
// no default stands in for them.
func objectSchema(v reflect.Value, naming bool) *jsonschema.Schema {
	object := &jsonschema.Schema{Type: "object", Properties: jsonschema.NewProperties(),
		AdditionalProperties: jsonschema.FalseSchema}
	for _, f := range fieldsOf(v.Type()) {
		value := v.FieldByIndex(f.index)
		property := &jsonschema.Schema{}
		switch {
		case f.noeffect != "":
			property.Description = "Accepted without effect: " + f.noeffect + "."
		case f.future != "":
			property.Description = "Not available in this version: " + f.future + "."
			property.Enum = []any{nil, false, "", []any{}, map[string]any{}}
		default:
			property = valueSchema(value, f.validate)
		}
		object.Properties.Set(f.key, property)
		if naming && value.IsZero() && slices.Contains(strings.Split(f.validate, ","), "required") {
			object.Required = append(object.Required, f.key)
		}
	}
	return object
}

// valueSchema describes a setting that keeps the rules of a validate tag. What
// takes any value is described by an empty one.
func valueSchema(v reflect.Value, rules string) *jsonschema.Schema {
	t := v.Type()
	own, below, _ := strings.Cut(rules, "dive")
	if t == reflect.TypeFor[providers.Settings]() {
		return providerSchema()
	}
	if form := formOf(t); form.schema != nil {
		return form.schema(own)
	}
	element := func() *jsonschema.Schema {
		return valueSchema(reflect.New(t.Elem()).Elem(), strings.TrimPrefix(below, ","))
	}
	switch t.Kind() {
	case reflect.Pointer:
		return valueSchema(reflect.New(t.Elem()).Elem(), rules)
	case reflect.Struct:
		return objectSchema(v, false)
	case reflect.Map:
		return &jsonschema.Schema{Type: "object", AdditionalProperties: element()}
	case reflect.Slice:
		items := &jsonschema.Schema{Type: "array", Items: element()}
		if slices.Contains(strings.Split(own, ","), "min=1") {
			items.MinItems = new(uint64(1))
		}
		return items
	}
	return &jsonschema.Schema{}
}

// textSchema carries over those rules about texts that a schema can say.
func textSchema(rules string) *jsonschema.Schema {
	text := &jsonschema.Schema{Type: "string"}
	var forms []string
	optional := false
	for rule := range strings.SplitSeq(rules, ",") {
		name, parameter, _ := strings.Cut(rule, "=")
		switch pattern, known := patterns[name]; {
		case known:
			forms = append(forms, pattern.String())
		case name == "oneof":
			choices := &jsonschema.Schema{Type: "string"}
			for choice := range strings.FieldsSeq(parameter) {
				choices.Enum = append(choices.Enum, choice)
			}
			if strings.HasPrefix(rules, "omitempty") {
				choices.Enum = append(choices.Enum, "")
			}
			return orReference(choices)
		case name == "hexcolor":
			forms = append(forms, "^#[0-9A-Fa-f]+$")
		case name == "omitempty":
			optional = true
		case name == "required":
			text.MinLength = new(uint64(1))
		}
	}
	if len(forms) > 0 {
		if forms = append(forms, referencing); optional {
			forms = append(forms, "^$")
		}
		text.Pattern = strings.Join(forms, "|")
	}
	return text
}

// scalarSchema describes a value that is no text, within its bounds.
func scalarSchema(name string) func(rules string) *jsonschema.Schema {
	return func(rules string) *jsonschema.Schema {
		value := &jsonschema.Schema{Type: name}
		for rule := range strings.SplitSeq(rules, ",") {
			switch name, parameter, _ := strings.Cut(rule, "="); name {
			case "gte", "min":
				value.Minimum = json.Number(parameter)
			case "lte", "max":
				value.Maximum = json.Number(parameter)
			}
		}
		schema := orReference(value)
		if name == "integer" {
			schema.AnyOf[1].Pattern += "|^[0-9]+$"
		}
		return schema
	}
}

func durationSchema(string) *jsonschema.Schema {
	return &jsonschema.Schema{Type: "string",
		Pattern: `^([0-9]*\.?[0-9]+(ns|us|µs|ms|s|m|h))+$|^([0-9]+d|0)$|` + referencing}
}

func millisecondsSchema(string) *jsonschema.Schema {
	return &jsonschema.Schema{AnyOf: []*jsonschema.Schema{{Type: "integer", Minimum: "0", Maximum: "86400000"}, {Type: "string"}}}
}

func textOrTexts(string) *jsonschema.Schema {
	return &jsonschema.Schema{AnyOf: []*jsonschema.Schema{
		{Type: "string"}, {Type: "array", Items: &jsonschema.Schema{Type: "string"}}}}
}

func headersSchema(string) *jsonschema.Schema {
	pair := jsonschema.NewProperties()
	pair.Set("key", &jsonschema.Schema{Type: "string"})
	pair.Set("value", &jsonschema.Schema{Type: "string"})
	return &jsonschema.Schema{AnyOf: []*jsonschema.Schema{
		{Type: "object", AdditionalProperties: textOrTexts("")},
		{Type: "array", Items: &jsonschema.Schema{Type: "object", Properties: pair, Required: []string{"key", "value"}}},
	}}
}

// providerSchema takes the keys of the one type that an entry names.
func providerSchema() *jsonschema.Schema {
	entry := &jsonschema.Schema{}
	for _, kind := range providers.Types() {
		one := objectSchema(reflect.ValueOf(kind.New()).Elem(), true)
		one.Title = kind.Name
		one.Properties.Set("type", &jsonschema.Schema{Const: kind.Name})
		entry.OneOf = append(entry.OneOf, one)
	}
	return entry
}
