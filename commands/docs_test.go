package commands

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"logto-email-relay/config"
	"logto-email-relay/providers"
)

// anyVariable answers for every environment variable of an example, and for some with
// what has a form of its own.
func anyVariable(name string) (string, bool) {
	switch name {
	case "SENDGRID_EVENT_KEY": // of SendGrid's own example
		return "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE83T4O/n84iotIvIW4mdBgQ/7dAfSmpqIM8kF9mN1flpVKS3GRqe62gw+2fNNRaINXvVpiglSI8eNEc6wEA3F+g==", true
	case "RESEND_EVENT_SECRET": // of Svix's
		return "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", true
	}
	return "a-value-of-the-test-" + name, true
}

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", file))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// privateKey makes an RSA key in PEM.
func privateKey(t *testing.T) []byte {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
}

// load loads a configuration, as JSON text.
func load(t *testing.T, text string) (*config.Config, error) {
	t.Helper()
	dir := t.TempDir()
	secret := filepath.Join(dir, "secret")
	if err := os.WriteFile(secret, []byte("a-secret-of-the-test\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	key := filepath.Join(dir, "key.pem")
	if err := os.WriteFile(key, privateKey(t), 0o600); err != nil {
		t.Fatal(err)
	}
	text = regexp.MustCompile(`\$\{file:[^}]*\.pem\}`).ReplaceAllString(text, "${file:"+key+"}")
	text = regexp.MustCompile(`\$\{file:/run/[^}]*\}`).ReplaceAllString(text, "${file:"+secret+"}")
	loaded, err := config.Parse(filepath.Join(dir, "config.json"), []byte(text), anyVariable)
	return loaded.Config, err
}

// documents are all pages that people read, as seen from the top.
func documents(t *testing.T) (pages []string) {
	t.Helper()
	for _, pattern := range []string{"*.md", "docs/*.md", "docs/decisions/*.md", ".github/*.md"} {
		found, err := filepath.Glob("../" + pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, page := range found {
			pages = append(pages, strings.TrimPrefix(filepath.ToSlash(page), "../"))
		}
	}
	return pages
}

// Every JSON example in the documents is a configuration, a provider or a
// section that the relay takes.
func TestTheExamplesInTheDocumentsWork(t *testing.T) {
	blocks := regexp.MustCompile("(?s)```json\n(.*?)```")
	total := 0
	for _, name := range documents(t) {
		for _, block := range blocks.FindAllStringSubmatch(read(t, name), -1) {
			total++
			example := block[1]
			var keys map[string]json.RawMessage
			if err := json.Unmarshal([]byte(example), &keys); err != nil {
				t.Errorf("%s: %v in\n%s", name, err, example)
				continue
			}
			if _, isProvider := keys["type"]; isProvider {
				example = `{"server":{"authorization":["Bearer ${RELAY_TOKEN}"]},"sender":{"from":"no-reply@acme.example"},"providers":[` + example + `]}`
			} else if _, isWhole := keys["server"]; !isWhole {
				rest := `"sender":{"from":"no-reply@acme.example"},`
				if _, hasProviders := keys["providers"]; !hasProviders {
					rest += `"providers":[{"type":"inbox"}],`
				}
				example = `{"server":{"authorization":["Bearer ${RELAY_TOKEN}"]},` + rest + strings.TrimPrefix(strings.TrimSpace(example), "{")
			}
			if _, err := load(t, example); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	if total < 6 {
		t.Errorf("only %d examples found", total)
	}
}

// What the documents import becomes what they show after it.
func TestTheImportsInTheDocumentsWork(t *testing.T) {
	blocks := regexp.MustCompile("(?s)```json input\n(.*?)```.*?```json\n(.*?)```")
	found := blocks.FindAllStringSubmatch(read(t, "docs/migrating.md"), -1)
	if len(found) == 0 {
		t.Fatal("no examples found")
	}
	for _, example := range found {
		i := runImport(t, example[1])
		i.expect(t, exitOK, example[2], map[string]string{})
	}
}

// People who read a sentence at the sign-in page find it in the page about Logto.
func TestEverySentenceIsExplained(t *testing.T) {
	var english struct{ Failures map[string]any }
	if err := json.Unmarshal([]byte(read(t, "templates/locales/en.json")), &english); err != nil || len(english.Failures) == 0 {
		t.Fatal(err)
	}
	wanted, explained := make(map[string][]string), make(map[string][]string) // by reason
	for reason, text := range english.Failures {
		if forms, isPlural := text.(map[string]any); isPlural {
			text = forms["other"]
		}
		switch reason { // those that say more than the sentence of the reason
		case "wait_minutes", "wait_hours":
			reason = "rate_limited"
		case "did_you_mean":
			reason = "recipient_refused"
		}
		wanted[reason] = append(wanted[reason], text.(string))
	}
	for _, row := range regexp.MustCompile("(?m)^\\| (.+) \\| .+ \\| (`.+`) \\|$").FindAllStringSubmatch(read(t, "docs/logto.md"), -1) {
		for reason := range strings.FieldsSeq(row[2]) {
			reason = strings.Trim(reason, "`")
			explained[reason] = append(explained[reason], row[1])
		}
	}
	for _, sentences := range []map[string][]string{wanted, explained} {
		for _, list := range sentences {
			slices.Sort(list)
		}
	}
	if !maps.EqualFunc(explained, wanted, slices.Equal) {
		t.Errorf("docs/logto.md explains %q, and there is %q", explained, wanted)
	}
}

// Every file that the documents link to is there.
func TestTheLinksInTheDocumentsLeadSomewhere(t *testing.T) {
	links := regexp.MustCompile(`\]\(([^)#]+)(?:#[^)]*)?\)`)
	for _, document := range documents(t) {
		for _, link := range links.FindAllStringSubmatch(read(t, document), -1) {
			if strings.Contains(link[1], "://") {
				continue
			}
			if _, err := os.Stat(filepath.Join("..", filepath.Dir(document), link[1])); err != nil {
				t.Errorf("%s links to %s: %v", document, link[1], err)
			}
		}
	}
}

// Every type of provider stands in the README's table and has a section in the
// page of the configuration.
func TestEveryTypeOfProviderIsDocumented(t *testing.T) {
	readme, page := read(t, "README.md"), read(t, "docs/configuration.md")
	for _, kind := range providers.Types() {
		if !strings.Contains(readme, "\n| `"+kind.Name+"` |") {
			t.Errorf("%s has no row in README.md", kind.Name)
		}
		if !strings.Contains(page, "\n### "+kind.Name+"\n") || !regexp.MustCompile("\n\\| `type` \\|.*`"+kind.Name+"`").MatchString(page) {
			t.Errorf("%s lacks its section or its place in the list of types in docs/configuration.md", kind.Name)
		}
	}
}

// The page of the configuration tells of each type whether it takes templates of its
// own, and in which form.
func TestTemplatesOfProvidersAreDocumented(t *testing.T) {
	_, section, found := strings.Cut(read(t, "docs/configuration.md"), "\nAll but ")
	without, rest, also := strings.Cut(section, " take templates of their own")
	table, _, _ := strings.Cut(rest, "\n### ")
	if !found || !also {
		t.Fatal(`docs/configuration.md: no sentence "All but … take templates of their own"`)
	}
	for _, kind := range providers.Types() {
		takes := false
		for _, field := range reflect.VisibleFields(reflect.TypeOf(kind.New()).Elem()) {
			key, _, _ := strings.Cut(field.Tag.Get("json"), ",")
			takes = takes || key == "templates" || key == "deliveries"
		}
		name := "`" + kind.Name + "`"
		if excepted := strings.Contains(without, name); excepted == takes {
			t.Errorf(`docs/configuration.md, the sentence "All but …": it names %s: %v, want %v`, kind.Name, excepted, !takes)
		}
		if row := strings.Contains(table, name); row != takes {
			t.Errorf("docs/configuration.md, the table of templates: it has %s: %v, want %v", kind.Name, row, takes)
		}
	}
}

// What the pages for people who change the code tell to run is there: targets of
// make, tests and the files that they are run in.
func TestTheCommandsInTheDocumentsExist(t *testing.T) {
	makefile := read(t, "Makefile")
	for _, page := range documents(t) {
		text := read(t, page)
		for _, target := range regexp.MustCompile("(?m)(?:^|`)make ([a-z]+)").FindAllStringSubmatch(text, -1) {
			if !strings.Contains(makefile, "\n"+target[1]+":") {
				t.Errorf("%s: there is no target %s", page, target[1])
			}
		}
		for _, script := range regexp.MustCompile("(?m)(?:^|`)(\\.ci/[a-z-]+|docs/pictures/[a-z]+)\\b").FindAllStringSubmatch(text, -1) {
			if _, err := os.Stat(filepath.Join("..", script[1])); err != nil {
				t.Errorf("%s: %v", page, err)
			}
		}
		for _, run := range regexp.MustCompile("go (?:test|run) ([^`\n#]*)").FindAllStringSubmatch(text, -1) {
			for argument := range strings.FieldsSeq(run[1]) {
				if folder, ok := strings.CutPrefix(argument, "./"); ok && folder != "..." {
					if _, err := os.Stat(filepath.Join("..", folder)); err != nil {
						t.Errorf("%s: go is to run %s: %v", page, argument, err)
					}
				}
			}
		}
	}
}

// Every test that a document names is there, so that what the threat model says is
// tested stays tested.
func TestTheTestsInTheDocumentsExist(t *testing.T) {
	var files []string
	for _, folder := range []string{"../*/*_test.go", "../*/*/*_test.go"} {
		found, err := filepath.Glob(folder)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, found...)
	}
	there := make(map[string]bool)
	for _, file := range files {
		for _, test := range regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`).FindAllStringSubmatch(read(t, strings.TrimPrefix(file, "../")), -1) {
			there[test[1]] = true
		}
	}
	named := 0
	for _, page := range documents(t) {
		for _, test := range regexp.MustCompile("`((?:Test|Fuzz)[A-Z]\\w*)`").FindAllStringSubmatch(read(t, page), -1) {
			named++
			if !there[test[1]] {
				t.Errorf("%s: there is no test %s", page, test[1])
			}
		}
	}
	if named == 0 {
		t.Error("no document names a test")
	}
}

// CI runs .ci/run and nothing else, and dependabot looks into folders that hold
// what it looks for.
func TestTheFilesForGitHubFitTogether(t *testing.T) {
	var workflow struct {
		Jobs map[string]struct{ Steps []struct{ Run string } }
	}
	if err := yaml.Unmarshal([]byte(read(t, ".github/workflows/ci.yml")), &workflow); err != nil {
		t.Fatal(err)
	}
	var runs []string
	for _, step := range workflow.Jobs["run"].Steps {
		if step.Run != "" {
			runs = append(runs, step.Run)
		}
	}
	if !slices.Equal(runs, []string{".ci/run"}) {
		t.Errorf("CI runs %q", runs)
	}

	var dependabot struct {
		Updates []struct {
			Ecosystem   string `yaml:"package-ecosystem"`
			Directory   string
			Directories []string
		}
	}
	if err := yaml.Unmarshal([]byte(read(t, ".github/dependabot.yml")), &dependabot); err != nil {
		t.Fatal(err)
	}
	files := map[string]string{"gomod": "go.mod", "npm": "package-lock.json", "docker": "Dockerfile",
		"docker-compose": "docker-compose.yml", "github-actions": ".github/workflows"}
	for _, update := range dependabot.Updates {
		for _, directory := range append(update.Directories, update.Directory) {
			if directory == "" {
				continue
			}
			if _, err := os.Stat(filepath.Join("..", directory, files[update.Ecosystem])); err != nil {
				t.Errorf("dependabot, %s: %v", update.Ecosystem, err)
			}
		}
	}

	forms, err := filepath.Glob("../.github/ISSUE_TEMPLATE/*.yml")
	if err != nil || len(forms) == 0 {
		t.Fatal(forms, err)
	}
	for _, form := range forms {
		var fields map[string]any
		if err := yaml.Unmarshal([]byte(read(t, strings.TrimPrefix(form, "../"))), &fields); err != nil {
			t.Errorf("%s: %v", form, err)
		}
	}
}

func TestTheComposeFileFitsTogether(t *testing.T) {
	type service struct {
		Image       string
		Build       string
		Profiles    []string
		Environment map[string]string
		Volumes     []string
		Ports       []string
		StopGrace   string `yaml:"stop_grace_period"`
	}
	var compose struct{ Services map[string]service }
	if err := yaml.UnmarshalWithOptions([]byte(read(t, "docker-compose.yml")), &compose, yaml.AllowDuplicateMapKey()); err != nil { // "<<" brings keys that are written anew
		t.Fatal(err)
	}
	for name, profiles := range map[string][]string{"relay": nil, "mailpit": nil, "logto": {"logto"}, "postgres": {"logto", "scale"},
		"relay-1": {"scale"}, "relay-2": {"scale"}, "nginx": {"scale"}, "redis": {"scale"}} {
		s, found := compose.Services[name]
		if !found {
			t.Fatalf("no service %s", name)
		}
		if !slices.Equal(s.Profiles, profiles) {
			t.Errorf("service %s has the profiles %v", name, s.Profiles)
		}
		if s.Build == "" && !strings.Contains(s.Image, ":") {
			t.Errorf("service %s has the image %q, which is no fixed version", name, s.Image)
		}
		for _, port := range s.Ports {
			if !strings.HasPrefix(port, "127.0.0.1:") {
				t.Errorf("service %s opens %s to the network", name, port)
			}
		}
	}
	relay := compose.Services["relay"]
	if relay.StopGrace != "30s" {
		t.Errorf("the relay is given %q to stop", relay.StopGrace)
	}
	mounted, target, _ := strings.Cut(relay.Volumes[0], ":")
	if target != "/etc/logto-email-relay:ro" { // a folder, so that a new file in the place of the old one is seen
		t.Errorf("the configuration is mounted at %s", target)
	}
	c, err := load(t, read(t, mounted+"/config.json"))
	if err != nil {
		t.Fatal(err)
	}
	if shared := c.Providers[0].Shared(); shared.Name != "mailpit" || shared.Type != "smtp" {
		t.Errorf("the relay sends through %s (%s)", shared.Name, shared.Type)
	}
	if token := relay.Environment["RELAY_TOKEN"]; !strings.HasPrefix(token, "${RELAY_TOKEN:?") {
		t.Errorf("the relay's token is %s, which others know", token)
	}
	if file := relay.Environment["RELAY_CONFIG"]; file != strings.TrimSuffix(target, ":ro")+"/config.json" {
		t.Errorf("the relay reads %s and not what is mounted at %s", file, target)
	}
	mounted, _, _ = strings.Cut(compose.Services["relay-1"].Volumes[0], ":")
	if c, err = load(t, read(t, mounted+"/config.json")); err != nil {
		t.Fatal(err)
	}
	if c.Limits.Redis.Reveal() == "" || c.Deliveries.Database.Reveal() == "" || len(c.Server.TrustedProxies) == 0 {
		t.Error("relays of the profile scale do not count together, share no record, or do not believe nginx")
	}
}

// The image starts what the health check asks.
func TestTheDockerfileFitsTheProgram(t *testing.T) {
	dockerfile := read(t, "Dockerfile")
	for _, want := range []string{"FROM scratch", "CGO_ENABLED=0", "USER 65532", "ca-certificates.crt",
		`ENTRYPOINT ["/logto-email-relay"]`, `CMD ["/logto-email-relay", "healthcheck"]`, "WORKDIR /etc/logto-email-relay",
		"ENV RELAY_CONFIG=/etc/logto-email-relay/config.json", "ENV RUNTIME_DIRECTORY=/"} {
		if !strings.Contains(dockerfile, want) {
			t.Errorf("the Dockerfile lacks %q", want)
		}
	}
}

// The page of licences names what is linked now.
func TestTheLicencesAreCurrent(t *testing.T) {
	for _, program := range []string{"bash", "dirname", "find", "head", "sort", "tr"} {
		if _, err := exec.LookPath(program); err != nil {
			if os.Getenv("RELAY_TEST_REQUIRE") == "1" {
				t.Fatalf("%v, and RELAY_TEST_REQUIRE=1", err)
			}
			t.Skip("the script that lists them needs", program, "which is not installed")
		}
	}
	list := exec.Command("bash", ".ci/licences")
	list.Dir = ".."
	list.Stderr = os.Stderr
	page, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	if string(page) != read(t, "docs/licences.md") {
		t.Error("docs/licences.md is not current: .ci/licences > docs/licences.md")
	}
}
