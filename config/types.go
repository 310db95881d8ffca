package config

import (
	"reflect"

	"github.com/invopop/jsonschema"

	"logto-email-relay/limits"
	"logto-email-relay/relay"
	"logto-email-relay/settings"
)

// form is what the loader, its messages and the JSON Schema know about a type
// of setting.
type form struct {
	// write is what an operator writes, with an example where the type alone does
	// not say it.
	write string
	// counts is what rules about size count: text, list or number.
	counts string
	// bare values stand without quotes, which beginners put around them.
	bare bool
	// secret values are never shown, also where they could not be decoded.
	secret bool
	// schema describes the setting with those of its rules that a schema can say;
	// nil where that depends on what is in it.
	schema func(rules string) *jsonschema.Schema
}

const aListOfTexts = `a list of texts in brackets, such as ["one", "two"]`

var forms = map[reflect.Type]form{
	reflect.TypeFor[settings.Secret]():       {write: "a text in quotes", counts: "text", secret: true, schema: textSchema},
	reflect.TypeFor[settings.Token]():        {write: "a text in quotes", counts: "text", secret: true, schema: tokenSchema},
	reflect.TypeFor[settings.Mailbox]():      {write: `a mail address such as "Acme <no-reply@acme.example>"`, counts: "text", schema: textSchema},
	reflect.TypeFor[settings.Network]():      {write: `an address range such as "10.0.0.0/8"`, counts: "text", schema: textSchema},
	reflect.TypeFor[settings.Duration]():     {write: `a duration such as "8s"`, counts: "number", schema: durationSchema},
	reflect.TypeFor[settings.Milliseconds](): {write: "a number of milliseconds such as 5000", counts: "number", schema: millisecondsSchema},
	reflect.TypeFor[settings.Texts]():        {write: "a text or a list of texts", counts: "list", schema: textOrTexts},
	reflect.TypeFor[relay.Group](): {write: `a provider's name, or a group such as [{"name": "a", "weight": 3}, {"name": "b"}]`, counts: "list",
		schema: groupSchema},
	reflect.TypeFor[limits.Rate](): {write: `a number and a time such as "10/10m"`, counts: "text", schema: rateSchema},
	// The headers of a mail may carry the key of a service.
	reflect.TypeFor[settings.Headers](): {write: `headers as an object such as {"X-Environment": "production"}`, counts: "list",
		secret: true, schema: headersSchema},
}

// formsOfKinds serve the types that have no form of their own.
var formsOfKinds = map[reflect.Kind]form{
	reflect.String:  {write: "a text in quotes", counts: "text", schema: textSchema},
	reflect.Bool:    {write: "true or false", bare: true, schema: scalarSchema("boolean")},
	reflect.Int:     {write: "a whole number", counts: "number", bare: true, schema: scalarSchema("integer")},
	reflect.Int64:   {write: "a whole number", counts: "number", bare: true, schema: scalarSchema("integer")},
	reflect.Float64: {write: "a number", counts: "number", bare: true, schema: scalarSchema("number")},
	reflect.Slice:   {write: "a list in brackets", counts: "list"},
	reflect.Map:     {write: "an object in braces", counts: "list"},
	reflect.Struct:  {write: "an object in braces"},
}

func formOf(t reflect.Type) form {
	if t.Kind() == reflect.Pointer {
		return formOf(t.Elem())
	}
	if own, found := forms[t]; found {
		return own
	}
	general := formsOfKinds[t.Kind()]
	if t.Kind() == reflect.Slice && formOf(t.Elem()).write == formsOfKinds[reflect.String].write {
		general.write = aListOfTexts
	}
	return general
}
