package providers

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
)

// refusedAnswer is a place in an answer that means that the mail was refused.
type refusedAnswer struct {
	// Path leads to the place, with numbers for the items of a list, * for any of
	// them, and "header:NAME" for a header.
	Path string `json:"path" validate:"required"`
	// Values are what has to stand there, with * for any text: "*not verified*".
	// Without them it is anything but nothing, false, zero and empty.
	Values []any `json:"values"`
	// Kind says whose fault it is, in the words of the log; suppressed is a
	// recipient on the service's own list, quota a limit that lasts for hours.
	Kind string `json:"kind" validate:"required,oneof=recipient suppressed message configuration rate-limited quota temporary"`
}

var refusedKinds = map[string]Error{
	"recipient": {Kind: Recipient}, "suppressed": {Kind: Recipient, Suppressed: true}, "message": {Kind: Content},
	"configuration": {Kind: Configuration}, "rate-limited": {Kind: RateLimited}, "quota": {Kind: RateLimited, Quota: true},
	"temporary": {Kind: Temporary},
}

// holds tells whether one of the values is what the answer says.
func (r *refusedAnswer) holds(found []any) bool {
	for _, value := range found {
		if len(r.Values) == 0 && isSomething(value) {
			return true
		}
		for _, wanted := range r.Values {
			pattern := strings.ReplaceAll(regexp.QuoteMeta(fmt.Sprint(wanted)), `\*`, ".*")
			if regexp.MustCompile("(?is)^" + pattern + "$").MatchString(fmt.Sprint(value)) {
				return true
			}
		}
	}
	return false
}

func isSomething(value any) bool {
	switch v := value.(type) {
	case nil:
		return false
	case bool:
		return v
	case string:
		return v != ""
	case json.Number:
		number, err := v.Float64()
		return err != nil || number != 0
	case []any:
		return len(v) > 0
	case map[string]any:
		return len(v) > 0
	}
	return true
}

// errors reads an answer: its words and code from where most services put them,
// what they mean from the operator. What neither tells, the status does.
func (p *httpProvider) errors(x *exchange) Error {
	said := httpAnswerErrors(x)
	for _, refused := range p.settings.Refused {
		if refused.holds(x.at(refused.Path)) {
			e := refusedKinds[refused.Kind]
			e.Code, e.Detail = said.Code, said.Detail
			return e
		}
	}
	if x.status == http.StatusBadGateway { // here nobody can tell a service's words from a proxy's
		said.Kind = Uncertain
	}
	return said
}

func httpAnswerErrors(x *exchange) Error {
	var answer any
	x.read(&answer)
	return Error{Detail: complaint(answer, maxDepth), Code: firstText(answer, maxDepth, codeKeys)}
}

// maxDepth is how deep in an answer its words are looked for: Mailjet has them at
// Messages.0.Errors.0.ErrorMessage.
const maxDepth = 8

var (
	wordKeys = []string{"message", "Message", "ErrorMessage", "error_description", "error", "Error", "detail", "title", "reason",
		"errors", "Errors", "warnings", "failures", "data", "Messages"}
	codeKeys = []string{"code", "Code", "ErrorCode", "error_code", "errorCode", "error", "Error", "errors", "Errors", "data", "Messages"}
)

// complaint finds the first text under one of the usual names.
func complaint(value any, depth int) string { return firstText(value, depth, wordKeys) }

// firstText finds the first text under one of the keys, in their order.
func firstText(value any, depth int, keys []string) string {
	if depth == 0 {
		return ""
	}
	switch v := value.(type) {
	case []any:
		for _, item := range v {
			if text := firstText(item, depth-1, keys); text != "" {
				return text
			}
		}
	case map[string]any:
		for _, name := range keys {
			if text, ok := v[name].(string); ok && text != "" {
				return text
			}
			if text := firstText(v[name], depth-1, keys); text != "" {
				return text
			}
		}
	}
	return ""
}

// at returns what stands at a place of the answer.
func (x *exchange) at(path string) []any {
	if name, ok := strings.CutPrefix(path, "header:"); ok {
		return []any{x.header.Get(name)}
	}
	return jsonValues(x.body, path)
}

// jsonValues returns what stands at a dotted path.
func jsonValues(body []byte, path string) []any {
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.UseNumber()
	var value any
	if decoder.Decode(&value) != nil {
		return nil
	}
	found := []any{value}
	for step := range strings.SplitSeq(path, ".") {
		var next []any
		for _, value := range found {
			next = append(next, below(value, step)...)
		}
		found = next
	}
	return found
}

// below is one step down: a name in an object, a number in a list, or * for all.
func below(value any, step string) []any {
	switch v := value.(type) {
	case map[string]any:
		if inner, ok := v[step]; ok {
			return []any{inner}
		}
	case []any:
		if step == "*" {
			return v
		}
		if i, err := strconv.Atoi(step); err == nil && i >= 0 && i < len(v) {
			return v[i : i+1]
		}
	}
	return nil
}

// text is the text or number at a place of the answer; empty if none is there.
func (x *exchange) text(path string) string { return firstScalar(x.at(path)) }

// jsonPath returns the first text or number at a dotted path.
func jsonPath(body []byte, path string) string { return firstScalar(jsonValues(body, path)) }

// firstScalar returns the first text or number of some values; empty if there is none.
func firstScalar(values []any) string {
	for _, value := range values {
		switch v := value.(type) {
		case string:
			return v
		case json.Number:
			return v.String()
		}
	}
	return ""
}
