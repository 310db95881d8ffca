package e2e_test

import (
	"encoding/json"
	"fmt"
	"html"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"logto-email-relay/templates"
)

// axePage looks at documents with axe, one frame after the other, and writes what it
// finds into the page.
const axePage = `<!doctype html><html lang="en"><title>axe</title><script>%s</script><pre id="found">running</pre><script>
const documents = %s, source = document.scripts[0].textContent;
const found = {};
async function look(name, text) {
  const frame = document.createElement("iframe");
  frame.width = 600; frame.height = 900;
  const loaded = new Promise((done) => { frame.onload = done; });
  frame.srcdoc = text;
  document.body.append(frame);
  await loaded;
  const script = frame.contentDocument.createElement("script");
  script.textContent = source;
  frame.contentDocument.head.append(script);
  const result = await frame.contentWindow.axe.run(frame.contentDocument, { resultTypes: ["violations"], iframes: false });
  for (const v of result.violations) (found[v.id] ??= []).push(name + ": " + v.nodes.map((n) => n.html.slice(0, 160) + " " + (n.any[0]?.message ?? "")).join(" / "));
  frame.remove();
}
(async () => {
  for (const [name, text] of Object.entries(documents)) await look(name, text);
  document.getElementById("found").textContent = JSON.stringify(found);
})().catch((e) => { document.getElementById("found").textContent = "failed: " + e; });
</script></html>`

// axe returns what axe-core objects to in documents, by rule.
func axe(t *testing.T, documents map[string]string) map[string][]string {
	t.Helper()
	source, err := os.ReadFile("connector/node_modules/axe-core/axe.min.js")
	if err != nil {
		unavailable(t, "axe-core is not installed: run npm ci in e2e/connector")
	}
	list, err := json.Marshal(documents) // which escapes "<"
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "axe.html")
	page := fmt.Sprintf(axePage, strings.ReplaceAll(string(source), "</script", `<\/script`), list)
	if err := os.WriteFile(file, []byte(page), 0o600); err != nil {
		t.Fatal(err)
	}
	out := browse(t, "file://"+file, "--virtual-time-budget=600000", "--allow-file-access-from-files")
	text := regexp.MustCompile(`(?s)<pre id="found">(.*?)</pre>`).FindStringSubmatch(out)
	var found map[string][]string
	if text == nil || json.Unmarshal([]byte(html.UnescapeString(text[1])), &found) != nil {
		t.Fatalf("axe did not come to an end: %.300s", text)
	}
	return found
}

// Screen readers and keyboards get along with every mail, and with every page for the
// operator. The two rules that want all of a page within parts such as <main> are for
// documents of their own, which a mail within a mail program is not.
func TestAxeFindsNothing(t *testing.T) {
	catalogue, err := templates.Open(templates.DefaultSettings())
	if err != nil {
		t.Fatal(err)
	}
	documents := make(map[string]string)
	for _, kind := range catalogue.Types() {
		for _, locale := range catalogue.Locales() {
			mail, err := catalogue.Preview(kind, locale, nil, templates.Branding{SenderName: "Acme", CompanyInformation: "Acme Inc.",
				AppLogo: templates.SampleLogo})
			if err != nil {
				t.Fatal(err)
			}
			documents[kind+" "+locale] = mail.HTML.String()
		}
	}
	relay := startRelayWith(t, inbox, `"deliveries": {"database": "record.db"}`)
	if got := post(t, relay.webhook(), "application/json", authorization, strings.NewReader(string(captured(t)["signin"]))); got.status != http.StatusOK {
		t.Fatal(got)
	}
	style := adminPage(t, relay, "/style.css")
	pages := []string{"/", "/deliveries", "/suppressions", "/providers", "/templates", "/templates/SignIn/en", "/inbox", "/nothing"}
	for _, page := range regexp.MustCompile(`href="(/(?:inbox|deliveries)/[0-9a-z]{26})"`).FindAllStringSubmatch(adminPage(t, relay, "/inbox")+adminPage(t, relay, "/deliveries"), 2) {
		pages = append(pages, page[1])
	}
	for _, path := range pages {
		page := strings.Replace(adminPage(t, relay, path), `<link rel="stylesheet" href="/style.css">`, "<style>"+style+"</style>", 1)
		documents["page "+path] = regexp.MustCompile(`<(iframe|script|noscript)[^>]*>.*?</(iframe|script|noscript)>`).ReplaceAllString(page, "")
	}
	found := make(map[string][]string)
	for names := range slices.Chunk(slices.Sorted(maps.Keys(documents)), 40) { // a browser's time is bounded
		some := make(map[string]string)
		for _, name := range names {
			some[name] = documents[name]
		}
		for rule, where := range axe(t, some) {
			found[rule] = append(found[rule], where...)
		}
	}
	for rule, where := range found {
		if rule == "landmark-one-main" || rule == "region" {
			where = slices.DeleteFunc(where, func(place string) bool { return !strings.HasPrefix(place, "page ") })
		}
		if len(where) == 0 {
			continue
		}
		t.Errorf("%s, %d times: %.600s", rule, len(where), where[0])
	}
	broken := axe(t, map[string]string{"broken": `<html><title>x</title><img src="x.png"><p style="color:#777;background:#888">text</p>`})
	for _, rule := range []string{"image-alt", "html-has-lang", "color-contrast"} {
		if len(broken[rule]) == 0 {
			t.Errorf("axe does not find %s in a broken page: %v", rule, broken)
		}
	}
}

func adminPage(t *testing.T, relay *relayProcess, path string) string {
	t.Helper()
	request, err := http.NewRequest(http.MethodGet, "http://"+relay.admin+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Accept", "text/html")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}
