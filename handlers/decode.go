package handlers

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/go-playground/validator/v10"

	"logto-email-relay/handlers/web"
	"logto-email-relay/mail"
	"logto-email-relay/relay"
	"logto-email-relay/templates"
)

// The bounds of a webhook's body. Logto's own bodies are of 2 KB and a few
// levels; invitations may add to that.
const (
	maxDepth = 32 // levels of objects and lists
	maxCode  = 64 // characters of payload.code
	// maxValues bounds the values of all kinds: {"a":0} takes 400 bytes in memory.
	// Logto's own bodies have a hundred.
	maxValues = 1000
)

// email is what a webhook asks for. The key tag is how the log calls a field.
type email struct {
	To      string         `key:"to" validate:"required"`
	Type    string         `key:"type" validate:"required,messagetype"`
	Payload map[string]any `key:"payload" validate:"required"`
	IP      string         // whatever it holds
	// Code and Link are the payload's. They may be absent, null or empty.
	Code any `key:"payload.code" validate:"omitnil,code"`
	Link any `key:"payload.link" validate:"omitnil,text"`
}

// decoder reads webhooks. Only the keys that make a mail are demanded; what
// else there is, and of which type, is the templates' to ignore.
type decoder struct {
	validate *validator.Validate
	links    templates.Links
}

// isMessageType wants a word of at most 64 characters that begins with a letter.
func isMessageType(text string) bool {
	for i := range len(text) {
		switch c := text[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z':
		case i > 0 && ('0' <= c && c <= '9' || c == '_' || c == '-'):
		default:
			return false
		}
	}
	return text != "" && len(text) <= 64
}

func newDecoder(links templates.Links) *decoder {
	validate := validator.New()
	validate.RegisterTagNameFunc(func(field reflect.StructField) string { return field.Tag.Get("key") })
	rules := map[string]func(text string) bool{
		"messagetype": isMessageType,
		"code":        func(text string) bool { return utf8.RuneCountInString(text) <= maxCode && !templates.IsLinked(text) },
		"text":        func(string) bool { return true },
	}
	for tag, rule := range rules {
		// A json.Number is a text too; anything else has no text to judge.
		err := validate.RegisterValidation(tag, func(field validator.FieldLevel) bool {
			return field.Field().Kind() == reflect.String && rule(field.Field().String())
		})
		if err != nil {
			panic(err) // The names are ours.
		}
	}
	return &decoder{validate, links}
}

// addressIsFine is what people are told where something else than the address is
// invalid, so that its owner does not look for typos.
const addressIsFine = web.Malformed

// decode reads a whole body. A request that is refused holds its type and payload
// all the same, if there were any, since they say which language to answer in.
func (d *decoder) decode(body []byte) (relay.Request, *web.Failure) {
	asked, err := parse(body)
	if err != nil {
		return relay.Request{}, &web.Failure{Reason: web.Malformed, Detail: err.Error()}
	}
	request := relay.Request{Type: asked.Type, Payload: asked.Payload, IP: asked.IP}
	if err := d.validate.Struct(asked); err != nil {
		refused := &web.Failure{Reason: web.Invalid, Detail: firstInvalid(err)}
		if !strings.HasPrefix(refused.Detail, "to:") {
			refused.Told = addressIsFine
		}
		return request, refused
	}
	if code := text(asked.Code); !templates.IsShown(code) && templates.NeedsCode(asked.Type) {
		// A mail without its code locks its reader out.
		return request, &web.Failure{Reason: web.Invalid, Detail: "payload.code: missing, and this type of mail needs one",
			Told: addressIsFine}
	}
	if link := text(asked.Link); link != "" {
		if _, err := d.links.Parse(link); err != nil {
			return request, &web.Failure{Reason: web.Invalid, Detail: "payload.link: " + err.Error(), Told: addressIsFine}
		}
	}
	// Half a surrogate is no letter of an address.
	if request.To, err = mail.ParseRecipient(asked.To); err != nil || strings.ContainsRune(asked.To, utf8.RuneError) {
		return request, &web.Failure{Reason: web.Invalid, Detail: "to: not one mailbox", Err: err}
	}
	return request, nil
}

// text returns a text, or a number as it is written.
func text(value any) string {
	switch value := value.(type) {
	case string:
		return value
	case json.Number:
		return string(value)
	}
	return ""
}

// firstInvalid names a field and the rule that it breaks.
func firstInvalid(err error) string {
	var invalid validator.ValidationErrors
	if errors.As(err, &invalid) {
		return invalid[0].Field() + ": " + invalid[0].Tag()
	}
	return err.Error()
}

var (
	errNoObject = errors.New("not a JSON object")
	errTooDeep  = fmt.Errorf("more than %d levels deep", maxDepth)
	errTooMany  = fmt.Errorf("more than %d values", maxValues)
)

// read reads the next value as encoding/json would into an any, but for numbers,
// which stay as they are written, and for what is nested too deep. A key that occurs
// twice in its object is an error of the library's.
func read(from *jsontext.Decoder) (any, error) {
	token, err := from.ReadToken()
	if err != nil {
		return nil, err
	}
	switch kind := token.Kind(); {
	case (kind == '{' || kind == '[') && from.StackDepth() > maxDepth:
		return nil, errTooDeep
	case kind == '{':
		object := make(map[string]any)
		for from.PeekKind() != '}' {
			key, err := from.ReadToken()
			if err != nil {
				return nil, err
			}
			name := key.String() // the token is good until the next is read
			if object[name], err = read(from); err != nil {
				return nil, err
			}
		}
		_, err = from.ReadToken()
		return object, err
	case kind == '[':
		list := []any{}
		for from.PeekKind() != ']' {
			value, err := read(from)
			if err != nil {
				return nil, err
			}
			list = append(list, value)
		}
		_, err = from.ReadToken()
		return list, err
	case kind == '"':
		return token.String(), nil
	case kind == '0':
		return json.Number(token.String()), nil
	case kind == 'n':
		return nil, nil
	}
	return token.Bool(), nil
}

// decoders keep what it takes to know the keys of an object.
var decoders = sync.Pool{New: func() any { return new(jsontext.Decoder) }}

// parse reads exactly one JSON object. Keys count as they are written, and none
// counts twice in its object: what two readers could take for two different
// mails is refused. A value of another type than wanted is as good as none. Its
// errors quote nothing.
func parse(body []byte) (email, error) {
	if len(body) == 0 {
		return email{}, errors.New("no body")
	}
	if !utf8.Valid(body) {
		return email{}, errors.New("not UTF-8")
	}
	if tooManyValues(body) {
		return email{}, errTooMany
	}
	from := decoders.Get().(*jsontext.Decoder)
	defer decoders.Put(from)
	// What is invalid in a text that is UTF-8 can only be half a surrogate, \ud800,
	// in a name that somebody cut.
	from.Reset(bytes.NewBuffer(body), jsontext.AllowInvalidUTF8(true))
	defer from.Reset(strings.NewReader("")) // nothing of a mail is kept
	value, err := read(from)
	if err == nil {
		if _, more := from.ReadToken(); !errors.Is(more, io.EOF) {
			err = errors.New("more than one value")
		}
	}
	switch {
	case errors.Is(err, jsontext.ErrDuplicateName):
		return email{}, errors.New("a key occurs twice")
	case errors.Is(err, errTooDeep):
		return email{}, errTooDeep
	case err != nil:
		return email{}, errors.New("not one JSON value")
	}
	object, isObject := value.(map[string]any)
	if !isObject {
		return email{}, errNoObject
	}
	var asked email
	asked.To, _ = object["to"].(string)
	asked.Type, _ = object["type"].(string)
	asked.IP, _ = object["ip"].(string)
	asked.Payload, _ = object["payload"].(map[string]any)
	asked.Code, asked.Link = asked.Payload["code"], asked.Payload["link"]
	return asked, nil
}

// tooManyValues counts what begins a value, commas and opening brackets, outside of
// texts.
func tooManyValues(body []byte) bool {
	if bytes.Count(body, []byte(","))+bytes.Count(body, []byte("{"))+bytes.Count(body, []byte("[")) < maxValues {
		return false // by far, and quickly seen
	}
	values, inText := 1, false
	for i := 0; i < len(body); i++ {
		switch c := body[i]; {
		case inText && c == '\\':
			i++
		case c == '"':
			inText = !inText
		case !inText && (c == ',' || c == '{' || c == '['):
			values++
		}
	}
	return values > maxValues
}
