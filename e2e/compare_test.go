package e2e_test

import (
	"bytes"
	"cmp"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"maps"
	"mime"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"net/mail"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files anew")

// comparison is one mail through a connector of Logto's and through our provider
// with the same settings.
type comparison struct {
	connector string
	// kind is the message type, SignIn if empty.
	kind string
	// config is what both get; ours gets type and endpoint too.
	config string
	// answer is what the service says to a mail that it takes.
	answer string
	status int
	header map[string]string
}

// The content has what Logto does not escape.
const comparedTemplates = `"templates": [
	{"usageType": "SignIn", "contentType": "text/html", "subject": "Sign in to {{application.name}}", "content": "<p>Your code for {{application.name}} is <b>{{code}}</b>. {{nothing}}</p>"},
	{"usageType": "Register", "contentType": "text/html", "subject": "s", "content": "{{code}}"},
	{"usageType": "ForgotPassword", "contentType": "text/html", "subject": "s", "content": "{{code}}"},
	{"usageType": "Generic", "contentType": "text/html", "subject": "s", "content": "{{code}}"}
]`

// templatesFor calls the content type as a connector does, or leaves it out.
func templatesFor(contentType string) string {
	if contentType == "" {
		return strings.ReplaceAll(comparedTemplates, `"contentType": "text/html", `, "")
	}
	return strings.ReplaceAll(comparedTemplates, "contentType", contentType)
}

const comparedRecipient = "ada@example.org"

const comparedPayload = `{"to": "` + comparedRecipient + `", "type": %q, "payload": {"code": "482913", "locale": "en",
	"application": {"id": "app1", "name": "Acme <b>Shop</b> acme.example"}}}`

func comparisons() []comparison {
	const deliveries = `{"domain": "mail.acme.example", "apiKey": "key", "from": "Acme <no-reply@mail.acme.example>", "deliveries": {
		"SignIn": {"subject": "Sign in to {{application.name}}", "html": "<p>Your code for {{application.name}} is <b>{{code}}</b>. {{nothing}}</p>", "replyTo": "help@acme.example"},
		"Generic": {"template": "generic", "variables": {"brand": "Acme"}}}}`
	const queued = `{"id": "<id@mail.acme.example>", "message": "Queued. Thank you."}`
	return []comparison{
		{connector: "smtp", config: `{"host": "127.0.0.1", "port": 0, "ignoreTLS": true, "auth": {},
			"fromEmail": "Acme <no-reply@acme.example>", "replyTo": "help@acme.example", "customHeaders": {"X-Team": "one"}, ` + templatesFor("contentType") + `}`},
		{connector: "sendgrid-email", status: 202, header: map[string]string{"X-Message-Id": "id"},
			config: `{"apiKey": "SG.key", "fromEmail": "no-reply@acme.example", "fromName": "Acme", ` + templatesFor("type") + `}`},
		{connector: "mailgun", status: 200, answer: queued, config: deliveries},
		{connector: "mailgun", kind: "BindMfa", status: 200, answer: queued, config: deliveries},
		{connector: "aws-ses", status: 200, answer: `{"MessageId": "id"}`,
			config: `{"accessKeyId": "AKIAEXAMPLE", "accessKeySecret": "secret", "region": "eu-west-1", "emailAddress": "Acme <no-reply@acme.example>",
				"configurationSetName": "transactional", ` + templatesFor("") + `}`},
		{connector: "postmark", status: 200, answer: `{"ErrorCode": 0, "Message": "OK", "MessageID": "id", "To": "ada@example.org", "SubmittedAt": "2026-11-21T10:30:00Z"}`,
			config: `{"serverToken": "token", "fromEmail": "no-reply@acme.example", "templates": [
				{"usageType": "SignIn", "templateAlias": "logto-sign-in"}, {"usageType": "Register", "templateAlias": "r"},
				{"usageType": "ForgotPassword", "templateAlias": "f"}, {"usageType": "Generic", "templateAlias": "g"}]}`},
		{connector: "aliyun-dm", status: 200, answer: `{"EnvId": "id", "RequestId": "request"}`,
			config: `{"accessKeyId": "LTAIexample", "accessKeySecret": "secret", "accountName": "no-reply@acme.example", "fromAlias": "Acme", ` + templatesFor("") + `}`},
		{connector: "smtp2go-email", status: 200, answer: `{"request_id": "1", "data": {"succeeded": 1, "failed": 0, "failures": [], "email_id": "id"}}`,
			config: `{"apiKey": "api-key", "sender": "no-reply@acme.example", "senderName": "Acme", ` + templatesFor("type") + `}`},
		{connector: "mailjunky", status: 200, answer: `{"id": "id", "status": "sent"}`,
			config: `{"apiKey": "mj_live_key", "fromEmail": "no-reply@acme.example", "fromName": "Acme", ` + templatesFor("type") + `}`},
		{connector: "http-email", status: 200,
			config: `{"endpoint": "", "authorization": "Bearer a-token-of-the-service"}`},
	}
}

// One message goes through Logto's own connector and through ours, with the
// same JSON, to the same place. What arrives is compared field by field with a
// golden file, and every difference has its reason in the documents.
func TestBesideLogtosConnectors(t *testing.T) {
	reasons, err := os.ReadFile("../docs/compared-with-logto.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range comparisons() {
		name := strings.TrimSuffix(c.connector+"-"+c.kind, "-")
		t.Run(name, func(t *testing.T) {
			theirs, ours := c.throughBoth(t)
			got, different := compared(theirs, ours)
			file := filepath.Join("testdata", "compared", name+".golden")
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("what arrived differs from %s (-update writes it anew):\n%s", file, got)
			}
			section := sectionOf(string(reasons), "## "+c.connector)
			for _, field := range different {
				if !strings.Contains(section, "`"+field+"`") {
					t.Errorf("docs/compared-with-logto.md gives no reason for `%s` in its section on %s", field, c.connector)
				}
			}
		})
	}
}

func sectionOf(text, heading string) string {
	_, section, _ := strings.Cut(text, heading+"\n")
	section, _, _ = strings.Cut(section, "\n## ")
	return section
}

// throughBoth returns the fields of what arrives from Logto's connector and from
// ours.
func (c comparison) throughBoth(t *testing.T) (theirs, ours map[string]string) {
	var config map[string]any
	if err := json.Unmarshal([]byte(c.config), &config); err != nil {
		t.Fatal(err)
	}
	message := fmt.Sprintf(comparedPayload, cmp.Or(c.kind, "SignIn"))
	var place string
	var arrived func() []map[string]string
	if c.connector == "smtp" {
		server := startMailpit(t)
		config["port"] = json.Number(server.port())
		arrived = func() []map[string]string { return mailsOf(t, server) }
	} else {
		place, arrived = c.record(t)
		if _, hasEndpoint := config["endpoint"]; hasEndpoint {
			config["endpoint"] = place + "/hook"
		}
	}
	runNode(t, "compare.mjs", map[string]any{"connector": c.connector, "config": config,
		"message": json.RawMessage(message), "recorder": place})

	config["type"] = connectors[c.connector]
	if c.connector != "smtp" && c.connector != "http-email" {
		config["endpoint"] = place
	}
	provider, err := json.Marshal([]any{config})
	if err != nil {
		t.Fatal(err)
	}
	relay := startRelay(t, string(provider))
	if a := post(t, relay.webhook(), "application/json", authorization, strings.NewReader(message)); a.status != http.StatusOK {
		t.Fatalf("the relay answered %d: %s\n%s", a.status, a.body, relay.log())
	}
	both := arrived()
	if len(both) != 2 {
		t.Fatalf("%d mails arrived, want 2", len(both))
	}
	return both[0], both[1]
}

// record plays a service that takes every mail. The relay also asks it whether
// it could send, when it starts; only requests to the recipient are mails.
func (c comparison) record(t *testing.T) (address string, arrived func() []map[string]string) {
	var mutex sync.Mutex
	var mails []map[string]string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		fields := requestFields(r, body)
		for _, value := range fields {
			if strings.Contains(value, comparedRecipient) {
				mutex.Lock()
				mails = append(mails, fields)
				mutex.Unlock()
				break
			}
		}
		for name, value := range c.header {
			w.Header().Set(name, value)
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(c.status)
		_, _ = io.WriteString(w, c.answer)
	}))
	t.Cleanup(server.Close)
	return server.URL, func() []map[string]string {
		mutex.Lock()
		defer mutex.Unlock()
		return mails
	}
}

// requestFields are the path, the credentials and the body of a request.
func requestFields(r *http.Request, body []byte) map[string]string {
	fields := map[string]string{"path": r.Method + " " + r.URL.Path, "Content-Type": mediaTypeOf(r.Header.Get("Content-Type"))}
	for _, name := range []string{"Authorization", "X-Postmark-Server-Token", "X-Smtp2go-Api-Key", "X-Acs-Action", "X-Acs-Version"} {
		if value := r.Header.Get(name); value != "" {
			fields[name] = regexp.MustCompile(`(Signature=|/)[0-9a-f]{8,}|SignedHeaders=[^,]*`).ReplaceAllString(value, "…")
		}
	}
	mediaType, parameters, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	switch mediaType {
	case "multipart/form-data":
		if form, err := multipart.NewReader(bytes.NewReader(body), parameters["boundary"]).ReadForm(1 << 20); err == nil {
			addForm(fields, form.Value)
		}
	case "application/x-www-form-urlencoded":
		if form, err := url.ParseQuery(string(body)); err == nil {
			addForm(fields, form)
		}
	default:
		var value any
		if err := json.Unmarshal(body, &value); err == nil {
			flatten(fields, "", value)
		}
	}
	return fields
}

func mediaTypeOf(header string) string {
	mediaType, _, _ := mime.ParseMediaType(header)
	return mediaType
}

func addForm(fields map[string]string, form map[string][]string) {
	for name, values := range form {
		fields[name] = strings.Join(values, ", ")
	}
}

func flatten(fields map[string]string, path string, value any) {
	switch value := value.(type) {
	case map[string]any:
		for name, inner := range value {
			flatten(fields, strings.TrimPrefix(path+"."+name, "."), inner)
		}
	case []any:
		for i, inner := range value {
			if pair, isHeader := inner.(map[string]any); isHeader && pair["Name"] != nil {
				fields[fmt.Sprintf("%s.%v", path, pair["Name"])] = fmt.Sprint(pair["Value"])
				continue
			}
			flatten(fields, fmt.Sprintf("%s[%d]", path, i), inner)
		}
	default:
		fields[path] = fmt.Sprint(value)
	}
}

// mailsOf returns the headers and parts of the mails in Mailpit, oldest first.
func mailsOf(t *testing.T, server *mailpit) []map[string]string {
	var list struct{ Messages []struct{ ID string } }
	get(t, "http://"+server.api+"/api/v1/messages", &list)
	var mails []map[string]string
	for _, message := range slices.Backward(list.Messages) {
		response, err := http.Get("http://" + server.api + "/api/v1/message/" + message.ID + "/raw")
		if err != nil {
			t.Fatal(err)
		}
		parsed, err := mail.ReadMessage(response.Body)
		if err != nil {
			t.Fatal(err)
		}
		fields := make(map[string]string)
		for name, values := range parsed.Header {
			switch name {
			case "Received", "Return-Path", "X-Mailpit-Tags":
			case "Content-Type":
				fields[name] = mediaTypeOf(values[0])
			default:
				decoded, err := new(mime.WordDecoder).DecodeHeader(values[0])
				if err != nil {
					t.Fatal(err)
				}
				fields[name] = decoded
			}
		}
		var content receivedMail
		get(t, "http://"+server.api+"/api/v1/message/"+message.ID, &content)
		_ = response.Body.Close()
		fields["HTML part"] = strings.TrimSpace(content.HTML)
		if strings.HasPrefix(fields["Content-Type"], "multipart/") {
			fields["text part"] = strings.TrimSpace(content.Text)
		}
		mails = append(mails, fields)
	}
	return mails
}

// changing are the values that are new in every mail.
var changing = []*regexp.Regexp{
	regexp.MustCompile(`[0-9a-z]{26}`),
	regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`),
	regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ`),
	regexp.MustCompile(`\w{3}, \d{1,2} \w{3} \d{4} \d\d:\d\d:\d\d [+-]\d{4}`),
	regexp.MustCompile(`^[A-Za-z0-9+/]{27}=$`), // Aliyun's signature
}

// compared shows both mails field by field, and returns the names of the fields
// that differ.
func compared(theirs, ours map[string]string) (text string, different []string) {
	shown := func(value string) string {
		if mailbox, err := mail.ParseAddress(value); err == nil {
			value = strings.TrimSpace(mailbox.Name + " <" + mailbox.Address + ">") // quotes make no difference
		}
		value = strings.NewReplacer(`\u003c`, "<", `\u003e`, ">").Replace(value)
		for _, pattern := range changing {
			value = pattern.ReplaceAllString(value, "*")
		}
		return fmt.Sprintf("%q", value)
	}
	var b strings.Builder
	b.WriteString("# = both, - Logto's connector, + ours\n")
	names := slices.Collect(maps.Keys(theirs))
	names = slices.AppendSeq(names, maps.Keys(ours))
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		left, inTheirs := theirs[name]
		right, inOurs := ours[name]
		if inTheirs && inOurs && shown(left) == shown(right) {
			fmt.Fprintf(&b, "= %s: %s\n", name, shown(left))
			continue
		}
		different = append(different, name)
		if inTheirs {
			fmt.Fprintf(&b, "- %s: %s\n", name, shown(left))
		}
		if inOurs {
			fmt.Fprintf(&b, "+ %s: %s\n", name, shown(right))
		}
	}
	return b.String(), different
}
