package handlers

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"regexp"
	"unicode/utf8"

	"github.com/go-playground/validator/v10"

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

var messageType = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_-]{0,63}$`)

func newDecoder(links templates.Links) *decoder {
	validate := validator.New()
	validate.RegisterTagNameFunc(func(field reflect.StructField) string { return field.Tag.Get("key") })
	rules := map[string]func(text string) bool{
		"messagetype": messageType.MatchString,
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
	fields, err := object(body)
	if err != nil {
		return relay.Request{}, &failure{reason: relay.Malformed, detail: err.Error()}
	}
	var mail email
	mail.To, _ = fields["to"].(string)
	mail.Type, _ = fields["type"].(string)
	mail.Payload, _ = fields["payload"].(map[string]any)
	mail.Code, mail.Link = mail.Payload["code"], mail.Payload["link"]

	request := relay.Request{Type: mail.Type, Payload: mail.Payload}
	var invalid validator.ValidationErrors
	if err := d.validate.Struct(mail); errors.As(err, &invalid) {
		return request, &failure{reason: relay.Invalid, detail: invalid[0].Field() + ": " + invalid[0].Tag()}
	}
	if request.To, err = relay.ParseRecipient(mail.To); err != nil {
		return request, &failure{reason: relay.Invalid, detail: "to: not one mailbox", err: err}
	}
	return request, nil
}

// object reads exactly one JSON object. Keys count as they are written, and
// none counts twice: what two readers could take for two different mails is
// refused. Its errors quote nothing.
func object(body []byte) (map[string]any, error) {
	if len(body) == 0 {
		return nil, errors.New("no body")
	}
	if !utf8.Valid(body) {
		return nil, errors.New("not UTF-8")
	}
	depth, members := measure(body)
	if depth > maxDepth {
		return nil, fmt.Errorf("more than %d levels deep", maxDepth)
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.UseNumber()
	var fields map[string]any
	var otherType *json.UnmarshalTypeError
	switch err := dec.Decode(&fields); {
	case errors.As(err, &otherType), err == nil && fields == nil:
		return nil, errors.New("not a JSON object")
	case err != nil:
		return nil, errors.New("not JSON")
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("something follows the JSON object")
	}
	if members != len(fields) {
		return nil, errors.New("a key occurs twice")
	}
	return fields, nil
}

// measure counts the levels of objects and lists, before a recursive reader may
// meet them, and the members of the outermost object, each of which has one
// colon. For what is not JSON the counts mean nothing.
func measure(body []byte) (depth, members int) {
	level := 0
	inText := false
	for i := 0; i < len(body); i++ {
		switch c := body[i]; {
		case inText && c == '\\':
			i++
		case c == '"':
			inText = !inText
		case inText:
		case c == '{' || c == '[':
			level++
			depth = max(depth, level)
		case c == '}' || c == ']':
			level--
		case c == ':' && level == 1:
			members++
		}
	}
	return depth, members
}
