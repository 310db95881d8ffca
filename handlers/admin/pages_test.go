package admin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/net/html"

	"logto-email-relay/deliveries"
	"logto-email-relay/mail"
	"logto-email-relay/providers"
	"logto-email-relay/relay"
	"logto-email-relay/templates"
)

// long is a word that no line can hold.
var long = strings.Repeat("W", 500)

// hostileOptions have texts of others everywhere.
func hostileOptions() Options {
	at := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	d := mail.Delivery{
		ID: "0123456789abcdefghjkmnpqrs", Time: at, Tenant: hostile, To: hostile + long + "@example.com", Type: hostile, Locale: hostile,
		Application: hostile, Organization: hostile, Route: 2, Status: mail.StatusBounced, Provider: hostile, ProviderID: hostile,
		Attempts: []mail.Attempt{{Provider: hostile, Kind: "temporary", Code: hostile, Detail: hostile + long, Duration: time.Second}},
		Events:   []mail.Event{{Time: at.Add(time.Second), Status: mail.StatusBounced, Provider: hostile, Detail: hostile}},
	}
	tally := &deliveries.Tally{Accepted: 10, Delivered: 7, Bounced: 1, Complained: 1, Failed: 1, ToAccepted: deliveries.Times{20: 10}, ToDelivered: deliveries.Times{50: 7}}
	return Options{
		Status:  func() Status { return Status{Ready: true, Details: map[string]string{hostile: hostile}} },
		Metrics: prometheus.NewRegistry(),
		Problem: func() error { return errors.New(hostile) },
		Providers: func() []relay.Status {
			return []relay.Status{{Name: hostile, Resting: true, Until: time.Now().Add(-time.Hour), Cause: &providers.Error{Kind: providers.Configuration, Detail: hostile, Hint: hostile}}, {Name: "main"}}
		},
		Gallery: edited{warnings: []string{hostile}, mail: templatesMail()},
		Inbox:   testBox(),
		Deliveries: fakeRecord{
			find: func(deliveries.Query) ([]mail.Delivery, string, error) { return []mail.Delivery{d}, hostile, nil },
			get:  func(string) (*mail.Delivery, error) { return &d, nil },
			sum: &deliveries.Summary{All: *tally, Providers: map[string]*deliveries.Tally{hostile + long: tally, "": {Failed: 3}}, Languages: map[string]*deliveries.Tally{hostile: tally},
				Bars: []deliveries.Bar{{Time: at}, {Time: at.Add(time.Hour), Tally: *tally}}},
		},
		Suppressions: &fakeSuppressions{list: []deliveries.Suppression{{To: hostile + "@example.com", Reason: "manual: " + hostile + long, Provider: hostile, Since: at, Until: at}, {To: "a***@example.com", Since: at, Until: at}}},
		Lift: func(context.Context, string) map[string]string {
			return map[string]string{hostile: "not possible: " + hostile}
		},
		Logger: slog.New(slog.DiscardHandler),
	}
}

// everyPage are the answers that a browser may get.
func everyPage() map[string]*http.Response {
	o := hostileOptions()
	h := New(o)
	answers := make(map[string]*http.Response)
	for _, path := range []string{"/", "/?last=hour", "/?last=week", "/deliveries", "/deliveries?" + url.Values{"to": {hostile}, "tenant": {hostile}}.Encode(),
		"/deliveries/01234567", "/suppressions", "/suppressions?" + url.Values{"to": {hostile}}.Encode(), "/providers", "/nowhere", "/deliveries?status=x",
		"/inbox?live=off&q=" + url.QueryEscape(hostile), "/inbox?live=off", "/inbox/0newest0000000000000000000", "/inbox/0newest0000000000000000000?view=raw",
		"/templates", "/templates/SignIn/en", "/templates/SignIn/en?view=text&data=" + url.QueryEscape(hostile)} {
		answers[path] = get(h, path, browser)
	}
	local := func(r *http.Request) { r.Host = "127.0.0.1:9090" }
	answers["lifted"] = postForm(h, "/suppressions/lift", url.Values{"to": {"ada@example.com"}}, local)
	answers["not lifted"] = postForm(h, "/suppressions/lift", url.Values{"to": {hostile}}, local)
	answers["added"] = postForm(h, "/suppressions", url.Values{"to": {"ada@example.com"}, "for": {"30d"}, "note": {hostile}}, local)
	answers["not added"] = postForm(h, "/suppressions", url.Values{"to": {hostile}, "for": {hostile}, "note": {hostile}}, local)
	guarded := adminWith("a-long-admin-token", nil, ready)
	answers["login"] = get(guarded, "/login?next="+url.QueryEscape(hostile), browser)
	answers["login, wrong"] = postForm(guarded, "/login", url.Values{"token": {hostile}, "next": {"/" + hostile}})
	return answers
}

// Every page is one that works without a script, by the keyboard and read aloud, and
// nothing that others wrote does anything in it.
func TestEveryPageIsSafeAndAccessible(t *testing.T) {
	codes := map[string]int{"/nowhere": 404, "/deliveries?status=x": 400, "not added": 422, "not lifted": 422, "login, wrong": 403}
	for name, got := range everyPage() {
		body := bodyOf(t, got)
		want := codes[name]
		if want == 0 {
			want = 200
		}
		if got.StatusCode != want || got.Header.Get("Content-Security-Policy") != pagePolicy || got.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %d with %v", name, got.StatusCode, got.Header)
		}
		document, err := html.Parse(strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		for _, problem := range problemsOf(document) {
			t.Errorf("%s: %s", name, problem)
		}
	}
}

// problemsOf returns what is wrong with a page.
func problemsOf(document *html.Node) (problems []string) {
	wrong := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	ids, labels, level := make(map[string]bool), make(map[string]bool), 0
	var fields, references []string
	first := "" // that the tab key comes to
	for n := range document.Descendants() {
		if n.Type == html.TextNode && strings.ContainsAny(n.Data, "\u202e\u2066") && !within(n, "bdi", "title", "dt", "dd", "pre", "li", "textarea") {
			wrong("the direction of %q is not shut in", n.Data)
		}
		if n.Type != html.ElementNode {
			continue
		}
		value := func(key string) string {
			i := slices.IndexFunc(n.Attr, func(a html.Attribute) bool { return a.Key == key })
			if i < 0 {
				return ""
			}
			return n.Attr[i].Val
		}
		for _, a := range n.Attr {
			if strings.HasPrefix(a.Key, "on") || a.Key == "style" || strings.HasPrefix(strings.ToLower(a.Val), "javascript:") {
				wrong("<%s> has %s", n.Data, a.Key)
			}
			if (a.Key == "src" || a.Key == "href" || a.Key == "action") && !strings.HasPrefix(a.Val, "/") && !strings.HasPrefix(a.Val, "?") && !strings.HasPrefix(a.Val, "#") {
				wrong("<%s> leads to %s", n.Data, a.Val)
			}
		}
		if id := value("id"); id != "" {
			if ids[id] {
				wrong("the id %s is there twice", id)
			}
			ids[id] = true
		}
		for _, key := range []string{"aria-labelledby", "aria-describedby", "list"} {
			if value(key) != "" {
				references = append(references, value(key))
			}
		}
		switch n.Data {
		case "script", "style", "img", "object", "embed", "base":
			wrong("there is a <%s>", n.Data)
		case "h1", "h2", "h3":
			if next := int(n.Data[1] - '0'); next > level+1 {
				wrong("<%s> follows a heading of level %d", n.Data, level)
			} else {
				level = next
			}
		case "label":
			labels[value("for")] = true
		case "input", "select":
			if value("type") != "hidden" {
				fields = append(fields, value("id"))
			}
		case "svg":
			if value("role") != "img" || value("aria-label") == "" {
				wrong("a chart says nothing to those who do not see it")
			}
		case "th":
			if value("scope") == "" {
				wrong("a heading of a table has no scope")
			}
		case "html":
			if value("lang") == "" {
				wrong("the page has no language")
			}
		}
		if tab := value("tabindex"); tab != "" && tab != "0" && tab != "-1" {
			wrong("tabindex %s changes the order", tab)
		}
		if first == "" && (n.Data == "a" || n.Data == "input" || n.Data == "button") {
			first = value("href")
		}
	}
	if first != "#content" || !ids["content"] {
		wrong("the keyboard comes to %q first, not to the content", first)
	}
	for _, field := range fields {
		if !labels[field] {
			wrong("the field %q has no label", field)
		}
	}
	for _, id := range references {
		if !ids[id] {
			wrong("there is no %q", id)
		}
	}
	return problems
}

func within(n *html.Node, names ...string) bool {
	for parent := range n.Ancestors() {
		if slices.Contains(names, parent.Data) {
			return true
		}
	}
	return false
}

func TestPagesOfTheRecord(t *testing.T) {
	h := New(hostileOptions())
	for path, wants := range map[string][]string{
		"/": {`aria-label="Mails sent, from 12:00 to 13:00 UTC; at most 11 in 60 min.`, "70.0 % of those sent", "Spam complaints",
			"13:00: 10 sent, 7 delivered, 1 bounced, 1 failed", `<a href="?last=day" aria-current="true">Day</a>`, "99 % within 32 ms"},
		"/deliveries?to=ada@example.com&status=bounced": {`value="ada@example.com"`, "<option selected>bounced</option>", `href="/deliveries/0123456789abcdefghjkmnpqrs"`,
			`rel="next">Older mails`, "after=", `<option value="SignIn">`},
		"/deliveries/01234567": {`<code>01234567</code>`, "routes[2]", "not taken by", "bounced, 0.0 s later, says", "All mails to this address"},
		"/suppressions":        {`<input type="hidden" name="to"`, "a***@example.com"},
		"/providers":           {"to be tried again", "Rested until", "healthy"},
	} {
		got := get(h, path, browser)
		body := bodyOf(t, got)
		for _, want := range wants {
			if !strings.Contains(body, want) {
				t.Errorf("%s: no %s in\n%s", path, want, body)
			}
		}
	}
	if body := bodyOf(t, get(h, "/suppressions", browser)); strings.Count(body, `aria-label="Lift `) != 1 {
		t.Errorf("a masked address is to be lifted:\n%s", body)
	}
}

// A connection ends with a failure where the rest of the request would have to be asked for.
func TestAFailureReadsNoBodyThatWaits(t *testing.T) {
	h := New(hostileOptions())
	for expect, connection := range map[string]string{"": "", "100-continue": "close"} {
		if got := get(h, "/nowhere", header("Expect", expect)); got.StatusCode != 404 || got.Header.Get("Connection") != connection {
			t.Errorf("%q: %d, %q", expect, got.StatusCode, got.Header.Get("Connection"))
		}
	}
}

// Who does not name HTML gets what programs get.
func TestProgramsGetJSON(t *testing.T) {
	h := New(hostileOptions())
	for _, accept := range []string{"", "*/*", "application/json", "application/json, text/html;q=0.5"} {
		for _, path := range []string{"/deliveries", "/deliveries/01234567", "/suppressions"} {
			if got := get(h, path, header("Accept", accept)); got.StatusCode != 200 || got.Header.Get("Content-Type") != "application/json" {
				t.Errorf("%s for %q: %d %s", path, accept, got.StatusCode, got.Header.Get("Content-Type"))
			}
		}
	}
}

func TestFormsOfSuppressions(t *testing.T) {
	at := time.Now().Add(time.Hour)
	for name, c := range map[string]struct {
		path   string
		values url.Values
		code   int
		wants  []string
		asked  string
	}{
		"add": {"/suppressions", url.Values{"to": {" Ada@EXAMPLE.com "}, "for": {"30d"}, "note": {"on her wish"}}, 200,
			[]string{"Ada@example.com</bdi></strong> gets no mails until", `datetime="2027-11-26T12:00:00Z"`}, "add Ada@example.com 720h0m0s on her wish, list "},
		"add nobody":             {"/suppressions", url.Values{"to": {"ada"}, "for": {"24h"}}, 422, []string{"that is not one address", `value="ada"`}, "list "},
		"add for no time at all": {"/suppressions", url.Values{"to": {"ada@example.com"}, "for": {"0s"}}, 422, []string{"write the time as 24h"}, "list "},
		"add for no time":        {"/suppressions", url.Values{"to": {"ada@example.com"}, "for": {"soon"}}, 422, []string{"write the time as 24h", `value="soon"`}, "list "},
		"lift": {"/suppressions/lift", url.Values{"to": {"ada@example.com"}}, 200, []string{"gets mails again", "<dt><bdi>main</bdi></dt><dd><bdi>not possible: why"},
			"lift ada@example.com, providers ada@example.com, list "},
		"lift nobody": {"/suppressions/lift", url.Values{"to": {""}}, 422, []string{"Nothing was lifted"}, "list "},
	} {
		f := &fakeSuppressions{list: []deliveries.Suppression{{To: "ada@example.com", Until: at}}}
		got := postForm(adminWithSuppressions(f), c.path, c.values, header("Authorization", "Bearer t"))
		body := bodyOf(t, got)
		if got.StatusCode != c.code || strings.Join(f.asked, ", ") != c.asked {
			t.Errorf("%s: %d, asked for %q", name, got.StatusCode, f.asked)
		}
		for _, want := range c.wants {
			if !strings.Contains(body, want) {
				t.Errorf("%s: no %s in\n%s", name, want, body)
			}
		}
	}
}

// A record that is down has a page that says so, and the overview is there all the same.
func TestPagesOfARecordThatIsDown(t *testing.T) {
	o := hostileOptions()
	down := errors.New("connection refused")
	o.Deliveries = fakeRecord{
		find: func(deliveries.Query) ([]mail.Delivery, string, error) { return nil, "", down },
		get:  func(string) (*mail.Delivery, error) { return nil, down },
	}
	o.Suppressions = &fakeSuppressions{err: down}
	h := New(o)
	for path, code := range map[string]int{"/deliveries": 503, "/deliveries/01234567": 503, "/suppressions": 503, "/": 200, "/providers": 200} {
		got := get(h, path, browser)
		if body := bodyOf(t, got); got.StatusCode != code || path != "/providers" && !strings.Contains(body, "The record does not answer") || strings.Contains(body, "refused") && path != "/" {
			t.Errorf("%s: %d\n%s", path, got.StatusCode, body)
		}
	}
}

// The navigation has the pages that there are.
func TestTheNavigation(t *testing.T) {
	least := Options{Status: ready, Metrics: prometheus.NewRegistry(), Logger: slog.New(slog.DiscardHandler)}
	for _, test := range []struct {
		options Options
		want    []string
	}{
		{least, []string{"*Overview", "Templates"}},
		{hostileOptions(), []string{"*Overview", "Deliveries", "Suppressions", "Providers", "Templates", "Inbox"}},
	} {
		if got := anchorsIn(t, get(New(test.options), "/", browser), "Pages"); !slices.Equal(got, test.want) {
			t.Errorf("got %q, want %q", got, test.want)
		}
	}
}

// anchorsIn returns the titles of a group of links; a star stands before the current
// one.
func anchorsIn(t *testing.T, answer *http.Response, group string) (titles []string) {
	t.Helper()
	document, err := html.Parse(strings.NewReader(bodyOf(t, answer)))
	if err != nil {
		t.Fatal(err)
	}
	for n := range document.Descendants() {
		if n.Data != "a" || n.Parent.Data != "nav" || !slices.ContainsFunc(n.Parent.Attr, func(a html.Attribute) bool { return a.Key == "aria-label" && a.Val == group }) {
			continue
		}
		title := n.FirstChild.Data
		if slices.ContainsFunc(n.Attr, func(a html.Attribute) bool { return a.Key == "aria-current" }) {
			title = "*" + title
		}
		titles = append(titles, title)
	}
	return titles
}

// A mail can be looked at in the forms that it has.
func TestTheFormsOfAMail(t *testing.T) {
	inbox := adminWith("", testBox(), ready)
	gallery := adminWithGallery(openCatalogue(t, templates.DefaultSettings()), "")
	for _, test := range []struct {
		h              http.Handler
		path           string
		forms, colours []string
	}{
		{inbox, "/inbox/0newest0000000000000000000", []string{"*HTML", "Text", "HTML source", "Raw"}, []string{"*Light", "Dark"}},
		{inbox, "/inbox/0newest0000000000000000000?scheme=dark", []string{"*HTML", "Text", "HTML source", "Raw"}, []string{"Light", "*Dark"}},
		{inbox, "/inbox/0newest0000000000000000000?width=phone", []string{"*HTML", "Text", "HTML source", "Raw"}, []string{"*Light", "Dark"}},
		{inbox, "/inbox/0newest0000000000000000000?view=source", []string{"HTML", "Text", "*HTML source", "Raw"}, nil},
		{inbox, "/inbox/0newest0000000000000000000?view=raw", []string{"HTML", "Text", "HTML source", "*Raw"}, nil},
		{inbox, "/inbox/0older00000000000000000000", []string{"*Text", "Raw"}, nil},
		{gallery, "/templates/SignIn/en?view=text", []string{"HTML", "*Text", "HTML source"}, nil},
	} {
		if got := anchorsIn(t, get(test.h, test.path), "Form"); !slices.Equal(got, test.forms) {
			t.Errorf("%s: forms %q", test.path, got)
		}
		widths := []string{"*Desktop", "Phone"}
		if strings.Contains(test.path, "width=phone") {
			widths = []string{"Desktop", "*Phone"}
		}
		if got := anchorsIn(t, get(test.h, test.path), "Width"); test.colours != nil && !slices.Equal(got, widths) {
			t.Errorf("%s: widths %q", test.path, got)
		}
		if got := anchorsIn(t, get(test.h, test.path), "Colours"); !slices.Equal(got, test.colours) {
			t.Errorf("%s: colours %q", test.path, got)
		}
	}
}

func TestGrouped(t *testing.T) {
	for n, want := range map[int]string{0: "0", 12: "12", 999: "999", 1000: "1\u202f000", 123456: "123\u202f456", 1234567: "1\u202f234\u202f567"} {
		if got := grouped(n); got != want {
			t.Errorf("%d: %q", n, got)
		}
	}
}

// overviewOf is the overview with a record that has these mails.
func overviewOf(t *testing.T, sum deliveries.Summary) string {
	t.Helper()
	return bodyOf(t, get(adminOf(fakeRecord{sum: &sum}), "/", browser))
}

// The chart is drawn to scale: 1,000 wide, and 200 high for the highest bar.
func TestTheChart(t *testing.T) {
	at := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	body := overviewOf(t, deliveries.Summary{Bars: []deliveries.Bar{
		{Time: at, Tally: deliveries.Tally{Accepted: 300, Delivered: 301}}, // some are reported of the bar before
		{Time: at.Add(time.Hour), Tally: deliveries.Tally{Accepted: 800, Delivered: 400, Bounced: 100, Failed: 200}},
		{Time: at.Add(2 * time.Hour), Tally: deliveries.Tally{Failed: 1}},
		{Time: at.Add(3 * time.Hour)},
	}})
	for _, want := range []string{
		`<rect class="delivered" x="25" y="139.8" width="200" height="60.2"></rect></g>`,
		`<rect class="delivered" x="275" y="120" width="200" height="80"></rect><rect class="waiting" x="275" y="60" width="200" height="60"></rect>` +
			`<rect class="bounced" x="275" y="40" width="200" height="20"></rect><rect class="failed" x="275" y="0" width="200" height="40"></rect></g>`,
		`<rect class="failed" x="525" y="198" width="200" height="2"></rect></g>`, // what is rare is seen
		"at most 1\u202f000 in",
	} {
		if !strings.Contains(body, want) {
			t.Errorf("no %s in\n%s", want, body)
		}
	}
	if n := strings.Count(body, "<rect"); n != 6 {
		t.Errorf("%d parts", n)
	}
}

// The figures say what is bad, and leave out what nobody knows.
func TestTheFigures(t *testing.T) {
	bar := []deliveries.Bar{{Time: time.Now()}}
	good := overviewOf(t, deliveries.Summary{Bars: bar, All: deliveries.Tally{Accepted: 4, Delivered: 3}})
	bad := overviewOf(t, deliveries.Summary{Bars: bar, All: deliveries.Tally{Accepted: 4, Bounced: 1, Complained: 1, Failed: 1, ToAccepted: deliveries.Times{1}}})
	for _, test := range []struct {
		page, text string
		has        bool
	}{
		{good, `<dt>Delivered</dt><dd class="">3</dd><dd class="note">75.0 % of those sent</dd>`, true},
		{good, `<dt>Bounced</dt><dd class="">0</dd>`, true}, {good, `<dt>Failed</dt><dd class="">0</dd>`, true},
		{good, "Spam complaints", false}, {good, "<dt>Until", false},
		{bad, `<dt>Bounced</dt><dd class="bad">1</dd>`, true}, {bad, `<dt>Failed</dt><dd class="bad">1</dd>`, true},
		{bad, `<dt>Spam complaints</dt><dd class="bad">1</dd>`, true},
		{bad, "<dt>Until accepted", true}, {bad, "<dt>Until delivered", false},
	} {
		if strings.Contains(test.page, test.text) != test.has {
			t.Errorf("it has %s: %v\n%s", test.text, !test.has, test.page)
		}
	}
}

// Who has most stands first, those with the same number by their names.
func TestTheTablesAreSorted(t *testing.T) {
	body := overviewOf(t, deliveries.Summary{Bars: []deliveries.Bar{{Time: time.Now(), Tally: deliveries.Tally{Accepted: 1}}}, Providers: map[string]*deliveries.Tally{
		"a": {Failed: 9}, "b": {Accepted: 3}, "c": {Accepted: 5}, "d": {Accepted: 1, Failed: 3}, "e": {Failed: 6}, "f": {Accepted: 3},
	}})
	var names []string
	for row := range strings.SplitSeq(body, `<tr><th scope="row"><bdi>`) {
		names = append(names, row[:1])
	}
	if got := strings.Join(names[1:], ""); got != "aecdbf" {
		t.Errorf("the order is %s", got)
	}
}

// A provider that rests has its cause apart from what to do about it, and every one
// its mails of the last day.
func TestTheProvidersPage(t *testing.T) {
	for name, test := range map[string]struct {
		cause *providers.Error
		want  string // empty: no cause
	}{
		"a hint":        {&providers.Error{Kind: providers.Configuration, Detail: "535 no", Hint: "check auth.pass"}, "check auth.pass"},
		"configuration": {&providers.Error{Kind: providers.Configuration, Detail: "535 no"}, "Mend the key"},
		"quota":         {&providers.Error{Kind: providers.RateLimited, Quota: true, Detail: "535 no"}, "The quota is spent"},
		"rate":          {&providers.Error{Kind: providers.RateLimited, Detail: "535 no"}, "fewer mails at a time"},
		"uncertain":     {&providers.Error{Kind: providers.Uncertain, Detail: "535 no"}, "did not answer"},
		"temporary":     {&providers.Error{Kind: providers.Temporary, Detail: "535 no"}, "The service or the way to it"},
		"no cause":      {nil, ""},
	} {
		o := hostileOptions()
		o.Providers = func() []relay.Status {
			return []relay.Status{{Name: "main", Resting: true, Until: time.Now().Add(time.Hour), Cause: test.cause}}
		}
		o.Deliveries = fakeRecord{sum: &deliveries.Summary{Providers: map[string]*deliveries.Tally{"main": {Accepted: 1234, Delivered: 5}}}}
		for _, recorded := range []bool{true, false} {
			if !recorded {
				o.Deliveries = nil
			}
			got := get(New(o), "/providers", browser)
			body := bodyOf(t, got)
			if got.StatusCode != 200 || strings.Contains(body, "<dt>Cause</dt>") != (test.want != "") || strings.Count(body, "535 no") != min(1, len(test.want)) ||
				test.want != "" && !strings.Contains(body, "<dt>What to do</dt><dd><bdi>") || !strings.Contains(body, test.want) {
				t.Errorf("%s: %d\n%s", name, got.StatusCode, body)
			}
			if has := strings.Contains(body, "1\u202f234 sent, 5 delivered"); has != recorded {
				t.Errorf("%s: its mails are told: %v", name, has)
			}
		}
	}
}

// What a page has to tell is there, and what makes no sense in its place is not.
func TestWhatPagesOffer(t *testing.T) {
	plain := func(change func(*Options)) http.Handler {
		o := hostileOptions()
		change(&o)
		return New(o)
	}
	showing := func(d mail.Delivery) http.Handler {
		return plain(func(o *Options) {
			o.Deliveries = fakeRecord{get: func(string) (*mail.Delivery, error) { return &d, nil }}
		})
	}
	counting := func(all deliveries.Tally) http.Handler {
		sum := &deliveries.Summary{All: all, Bars: []deliveries.Bar{{Tally: all}}, Providers: map[string]*deliveries.Tally{"main": &all}}
		return plain(func(o *Options) {
			o.Deliveries, o.Providers = fakeRecord{sum: sum}, func() []relay.Status { return []relay.Status{{Name: "main"}} }
		})
	}
	listing := func(list ...deliveries.Suppression) http.Handler {
		return plain(func(o *Options) { o.Suppressions = &fakeSuppressions{list: list} })
	}
	sending := plain(func(o *Options) {
		o.Send = func(context.Context, string, string, map[string]any) *mail.Delivery { return nil }
	})
	first := showing(mail.Delivery{ID: "0123456789abcdefghjkmnpqrs", To: "ada@example.com", Tenant: "acme"})
	masked := showing(mail.Delivery{ID: "0123456789abcdefghjkmnpqrs", To: "a***@example.com", Route: -1, ProviderID: "<1@service>"})
	const noReports, quick = "No service has reported what became of these mails", "half were accepted within"
	const opened, sendOpened = "<details open><summary>Your own data", "<details open><summary>Send this mail"
	for _, test := range []struct {
		h         http.Handler
		path      string
		has, lack []string
	}{
		{first, "/deliveries/01234567", []string{"<dt>Tenant</dt><dd><bdi>acme", "routes[0]", "Is it suppressed?"}, []string{"<dt>Application", "Provider&#39;s id"}},
		{masked, "/deliveries/01234567", []string{"none matched", "<dt>Provider&#39;s id</dt><dd><code><bdi>&lt;1@service"}, []string{"<dt>Tenant", "Is it suppressed?"}},
		{listing(deliveries.Suppression{To: "ada@example.com"}), "/suppressions", []string{`aria-label="Lift ada@example.com"`}, nil},
		{listing(deliveries.Suppression{To: "a***@example.com"}), "/suppressions", []string{"a***@example.com"}, []string{`aria-label="Lift `}},
		{listing(), "/suppressions", []string{"No address is suppressed."}, []string{"This address"}},
		{listing(), "/suppressions?to=ada@example.com", []string{"This address is not suppressed here."}, []string{"No address"}},
		{counting(deliveries.Tally{Accepted: 1}), "/", []string{noReports}, nil},
		{counting(deliveries.Tally{Accepted: 1, Delivered: 1}), "/", nil, []string{noReports}},
		{counting(deliveries.Tally{Accepted: 1, Bounced: 1}), "/", nil, []string{noReports}},
		{counting(deliveries.Tally{Failed: 1}), "/", []string{"<rect"}, []string{noReports}},
		{counting(deliveries.Tally{}), "/", nil, []string{"<figure"}},
		{counting(deliveries.Tally{Accepted: 1, ToAccepted: deliveries.Times{1}}), "/providers", []string{quick}, nil},
		{counting(deliveries.Tally{Accepted: 1}), "/providers", []string{"1 sent"}, []string{quick}},
		{adminWith("", testBox(), ready), "/inbox", []string{"Delete all mails"}, []string{`name="live"`}},
		{adminWith("", testBox(), ready), "/inbox?live=off", []string{`<input type="hidden" name="live" value="off">`}, nil},
		{adminWith("", box{}, ready), "/inbox", nil, []string{"Delete all mails"}},
		{adminWith("", testBox(), ready), "/inbox/0newest0000000000000000000", []string{"<summary>Headers"}, nil},
		{adminWith("", testBox(), ready), "/inbox/0older00000000000000000000", nil, []string{"<summary>Headers"}},
		{sending, "/templates/Generic/sr-Latn", []string{`aria-current="true">Generic`, `aria-current="true"><bdi lang="sr-Latn"`}, []string{`aria-current="true">SignIn`, `aria-current="true"><bdi lang="en"`, opened, sendOpened}},
		{sending, "/templates/SignIn/en?data={code", []string{opened}, []string{sendOpened}},
		{sending, "/templates/SignIn/en?sent=main+accepted+it", []string{sendOpened}, []string{opened}},
	} {
		body := bodyOf(t, get(test.h, test.path, browser))
		for _, want := range test.has {
			if !strings.Contains(body, want) {
				t.Errorf("%s: no %s in\n%s", test.path, want, body)
			}
		}
		for _, other := range test.lack {
			if strings.Contains(body, other) {
				t.Errorf("%s: %s in\n%s", test.path, other, body)
			}
		}
	}
}
