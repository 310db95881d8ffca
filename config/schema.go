package config

import (
	_ "embed" // the descriptions
	"encoding/json"
	"reflect"
	"slices"
	"strings"

	"github.com/invopop/jsonschema"

	"logto-email-relay/providers"
	"logto-email-relay/templates"
)

// Schema returns the JSON Schema (draft 2020-12) of a configuration file, for
// editors to complete keys and to underline mistakes. It comes from the same
// tables of keys as the loader, so that they cannot differ in what they know.
// It sees the file before ${…} is replaced and takes such a text in every place.
func Schema() ([]byte, error) {
	var d descriptions
	if err := json.Unmarshal(described, &d); err != nil {
		return nil, err
	}
	root := d.objectSchema(reflect.ValueOf(defaults()).Elem(), false)
	root.Version = jsonschema.Version
	root.Title = "Configuration of logto-email-relay"
	root.Required = []string{"server", "providers"}
	server, _ := root.Properties.Get("server")
	server.Required = []string{"authorization"}
	return json.MarshalIndent(root, "", "  ")
}

// described are the comments of all settings, by package, struct and field. A test
// takes them from the source: go test ./config -run Described -update
//
//go:embed descriptions.json
var described []byte

type descriptions map[string]string

// referencing is the pattern of a text that is not final.
const referencing = `\$\{`

func orReference(schema *jsonschema.Schema) *jsonschema.Schema {
	return &jsonschema.Schema{AnyOf: []*jsonschema.Schema{schema, {Type: "string", Pattern: referencing}}}
}

// objectSchema describes a struct. Keys that must be there are named only where
// no default stands in for them.
func (d descriptions) objectSchema(v reflect.Value, naming bool) *jsonschema.Schema {
	object := &jsonschema.Schema{Type: "object", Properties: jsonschema.NewProperties(),
		AdditionalProperties: jsonschema.FalseSchema}
	for _, f := range fieldsOf(v.Type()) {
		value := v.FieldByIndex(f.index)
		property := &jsonschema.Schema{}
		switch {
		case f.noeffect != "":
			property.Description = "Accepted without effect: " + f.noeffect + "."
		default:
			property = d.valueSchema(value, f.validate)
			property.Description = d[f.name]
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
func (d descriptions) valueSchema(v reflect.Value, rules string) *jsonschema.Schema {
	t := v.Type()
	own, below, _ := strings.Cut(rules, "dive")
	if t == reflect.TypeFor[providers.Settings]() {
		return d.providerSchema()
	}
	if form := formOf(t); form.schema != nil {
		return form.schema(own)
	}
	element := func() *jsonschema.Schema {
		return d.valueSchema(reflect.New(t.Elem()).Elem(), strings.TrimPrefix(below, ","))
	}
	switch t.Kind() {
	case reflect.Pointer:
		return d.valueSchema(reflect.New(t.Elem()).Elem(), rules)
	case reflect.Struct:
		return d.objectSchema(v, false)
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
		case name == "messagetype", name == "usagetype":
			return orReference(&jsonschema.Schema{Enum: anyOf(templates.Types())})
		case name == "oneof", name == "choice":
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

func anyOf(texts []string) (values []any) {
	for _, text := range texts {
		values = append(values, text)
	}
	return values
}

func durationSchema(string) *jsonschema.Schema {
	return &jsonschema.Schema{Type: "string",
		Pattern: `^([0-9]*\.?[0-9]+(ns|us|µs|ms|s|m|h))+$|^([0-9]+d|0)$|` + referencing}
}

func tokenSchema(string) *jsonschema.Schema {
	entry := &jsonschema.Schema{Type: "object", Properties: jsonschema.NewProperties(),
		AdditionalProperties: jsonschema.FalseSchema, Required: []string{"tenant", "value"}}
	entry.Properties.Set("tenant", &jsonschema.Schema{Type: "string", Pattern: `^[A-Za-z][A-Za-z0-9._-]{0,63}$|` + referencing,
		Description: "What log, record, metrics and the routes call the Logto tenant that sends this value."})
	entry.Properties.Set("value", &jsonschema.Schema{Type: "string",
		Description: "The value that this tenant's connector sends as Authorization header, whole."})
	return &jsonschema.Schema{AnyOf: []*jsonschema.Schema{{Type: "string"}, entry}}
}

func groupSchema(string) *jsonschema.Schema {
	name := &jsonschema.Schema{Type: "string", MinLength: new(uint64(1))}
	share := &jsonschema.Schema{Type: "object", Properties: jsonschema.NewProperties(),
		AdditionalProperties: jsonschema.FalseSchema, Required: []string{"name"}}
	share.Properties.Set("name", &jsonschema.Schema{Type: "string", MinLength: new(uint64(1)), Description: "name is that of a provider."})
	share.Properties.Set("weight", &jsonschema.Schema{Type: "integer", Minimum: "1", Maximum: "10000",
		Description: "weight is how many mails it gets beside the others of its group, 1 unless written."})
	group := &jsonschema.Schema{Type: "array", MinItems: new(uint64(1)), Items: &jsonschema.Schema{AnyOf: []*jsonschema.Schema{name, share}}}
	return &jsonschema.Schema{AnyOf: []*jsonschema.Schema{name, group}}
}

func rateSchema(string) *jsonschema.Schema {
	return &jsonschema.Schema{Type: "string", Pattern: `^([1-9][0-9]*/[0-9.]+[a-zµ]+.*)?$|` + referencing}
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
	pair.Set("key", &jsonschema.Schema{Type: "string", Description: "The name of a header."})
	pair.Set("value", &jsonschema.Schema{Type: "string", Description: "Its value."})
	return &jsonschema.Schema{AnyOf: []*jsonschema.Schema{
		{Type: "object", AdditionalProperties: textOrTexts("")},
		{Type: "array", Items: &jsonschema.Schema{Type: "object", Properties: pair, Required: []string{"key", "value"}}},
	}}
}

// providerSchema takes the keys of the one type that an entry names, and offers all
// types to an entry without one.
func (d descriptions) providerSchema() *jsonschema.Schema {
	kindOf := func(schema *jsonschema.Schema) *jsonschema.Schema {
		object := &jsonschema.Schema{Type: "object", Properties: jsonschema.NewProperties(), Required: []string{"type"}}
		object.Properties.Set("type", schema)
		return object
	}
	var names []string
	var rules []*jsonschema.Schema
	for _, kind := range providers.Types() {
		names = append(names, kind.Name)
		keys := d.objectSchema(reflect.ValueOf(kind.New()).Elem(), true)
		keys.Title = kind.Name
		keys.Properties.Set("type", &jsonschema.Schema{Description: d["providers.Common.Type"]})
		rules = append(rules, &jsonschema.Schema{If: kindOf(&jsonschema.Schema{Const: kind.Name}), Then: keys})
	}
	entry := kindOf(&jsonschema.Schema{Enum: anyOf(names), Description: d["providers.Common.Type"]})
	entry.AllOf = rules
	return entry
}
