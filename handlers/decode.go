package handlers

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"sync"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/go-playground/validator/v10"

	"logto-email-relay/mail"
	"logto-email-relay/relay"
	"logto-email-relay/templates"
)

// The bounds of a webhook's body. Logto's own bodies are of 2 KB and a few
// levels; invitations may add to that.
const (
	maxBody  = 64 << 10 // bytes
	maxDepth = 32       // levels of objects and lists
	maxCode  = 64       // characters of payload.code
)

// email is what a webhook asks for. The key tag is how the log calls a field.
type email struct {
	To      string         `key:"to" validate:"required"`
	Type    string         `key:"type" validate:"required,messagetype"`
	Payload map[string]any `key:"payload" validate:"required"`
	// Code and Link are the payload's. They may be absent, null or empty.
	Code any `key:"payload.code" validate:"omitnil,code"`
	Link any `key:"payload.link" validate:"omitnil,link"`
}

// decoder reads webhooks. Only the keys that make a mail are demanded; what
// else there is, and of which type, is the templates' to ignore.
type decoder struct{ validate *validator.Validate }

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
		"code":        func(text string) bool { return utf8.RuneCountInString(text) <= maxCode },
		"link":        func(text string) bool { return text == "" || links.Allow(text) },
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
	return &decoder{validate}
}

// decode reads a whole body. Its error is a *failure; the request holds the
// payload even then, if there was one, since it says which language to answer
// in.
func (d *decoder) decode(body []byte) (relay.Request, error) {
	asked, err := parse(body)
	if err != nil {
		return relay.Request{}, &failure{reason: relay.Malformed, detail: err.Error()}
	}
	request := relay.Request{Type: asked.Type, Payload: asked.Payload}
	if err := d.validate.Struct(asked); err != nil {
		return request, &failure{reason: relay.Invalid, detail: firstInvalid(err)}
	}
	if request.To, err = mail.ParseRecipient(asked.To); err != nil {
		return request, &failure{reason: relay.Invalid, detail: "to: not one mailbox", err: err}
	}
	return request, nil
}

// firstInvalid names a field and the rule that it breaks.
func firstInvalid(err error) string {
	var invalid validator.ValidationErrors
	if errors.As(err, &invalid) {
		return invalid[0].Field() + ": " + invalid[0].Tag()
	}
	return err.Error()
}

// reader reads one body after another. It is not safe for concurrent use.
type reader struct {
	body bytes.Reader
	json jsontext.Decoder
}

var readers = sync.Pool{New: func() any { return new(reader) }}

var (
	errNoObject = errors.New("not a JSON object")
	errTooDeep  = fmt.Errorf("more than %d levels deep", maxDepth)
)

// parse reads exactly one JSON object. Keys count as they are written, and none
// counts twice in its object: what two readers could take for two different
// mails is refused. Its errors quote nothing.
func parse(body []byte) (email, error) {
	if len(body) == 0 {
		return email{}, errors.New("no body")
	}
	if !utf8.Valid(body) {
		return email{}, errors.New("not UTF-8")
	}
	r := readers.Get().(*reader)
	defer func() {
		r.body.Reset(nil)
		readers.Put(r)
	}()
	r.body.Reset(body)
	// What is invalid now can only be half a surrogate, \ud800, in a name that
	// somebody cut.
	r.json.Reset(&r.body, jsontext.AllowInvalidUTF8(true))
	mail, err := r.email()
	switch {
	case errors.Is(err, jsontext.ErrDuplicateName):
		return email{}, errors.New("a key occurs twice")
	case errors.Is(err, errTooDeep), errors.Is(err, errNoObject):
		return email{}, err
	case err != nil:
		return email{}, errors.New("not JSON")
	}
	if _, err := r.json.ReadToken(); !errors.Is(err, io.EOF) {
		return email{}, errors.New("something follows the JSON object")
	}
	return mail, nil
}

// email reads the whole object. A value of another type is as good as none.
func (r *reader) email() (email, error) {
	switch opening, err := r.json.ReadToken(); {
	case err != nil:
		return email{}, err
	case opening.Kind() != '{':
		return email{}, errNoObject
	}
	var mail email
	for {
		name, value, more, err := r.member()
		if !more {
			mail.Code, mail.Link = mail.Payload["code"], mail.Payload["link"]
			return mail, err
		}
		switch name {
		case "to":
			mail.To, _ = value.(string)
		case "type":
			mail.Type, _ = value.(string)
		case "payload":
			mail.Payload, _ = value.(map[string]any)
		}
	}
}

// member reads a key and its value, or the brace that closes the object.
func (r *reader) member() (name string, value any, more bool, err error) {
	token, err := r.json.ReadToken()
	if err != nil || token.Kind() == '}' {
		return "", nil, false, err
	}
	name = token.String()
	value, err = r.value()
	return name, value, err == nil, err
}

// members reads what follows the brace that opens an object.
func (r *reader) members() (map[string]any, error) {
	fields := make(map[string]any)
	for {
		name, value, more, err := r.member()
		if !more {
			return fields, err
		}
		fields[name] = value
	}
}

// items reads what follows the bracket that opens a list.
func (r *reader) items() ([]any, error) {
	list := []any{}
	for r.json.PeekKind() != ']' {
		value, err := r.value()
		if err != nil {
			return nil, err
		}
		list = append(list, value)
	}
	_, err := r.json.ReadToken()
	return list, err
}

// value reads a value as encoding/json would, with its numbers as they are
// written.
func (r *reader) value() (any, error) {
	token, err := r.json.ReadToken()
	if err != nil {
		return nil, err
	}
	if r.json.StackDepth() > maxDepth {
		return nil, errTooDeep
	}
	switch token.Kind() {
	case '{':
		return r.members()
	case '[':
		return r.items()
	case '"':
		return token.String(), nil
	case '0':
		return json.Number(token.String()), nil
	case 't', 'f':
		return token.Bool(), nil
	}
	return nil, nil // null
}
