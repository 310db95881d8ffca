package commands

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"logto-email-relay/config"
)

// anyVariable answers for every environment variable of an example.
func anyVariable(string) (string, bool) { return "a-value-of-the-test", true }

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

// Every JSON example in the documents is a configuration, a provider or a
// section that the relay takes.
func TestTheExamplesInTheDocumentsWork(t *testing.T) {
	documents, err := filepath.Glob("../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	documents = append(documents, "../README.md")
	blocks := regexp.MustCompile("(?s)```json\n(.*?)```")
	total := 0
	for _, document := range documents {
		name := strings.TrimPrefix(document, "../")
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

// Every file that the documents link to is there.
func TestTheLinksInTheDocumentsLeadSomewhere(t *testing.T) {
	documents, err := filepath.Glob("../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	documents = append(documents, "../README.md", "../CHANGELOG.md")
	links := regexp.MustCompile(`\]\(([^)#]+)(?:#[^)]*)?\)`)
	for _, document := range documents {
		for _, link := range links.FindAllStringSubmatch(read(t, strings.TrimPrefix(document, "../")), -1) {
			if strings.Contains(link[1], "://") {
				continue
			}
			if _, err := os.Stat(filepath.Join(filepath.Dir(document), link[1])); err != nil {
				t.Errorf("%s links to %s: %v", document, link[1], err)
			}
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
	if err := yaml.Unmarshal([]byte(read(t, "docker-compose.yml")), &compose); err != nil {
		t.Fatal(err)
	}
	for name, profile := range map[string]string{"relay": "", "mailpit": "", "logto": "logto", "postgres": "logto"} {
		s, found := compose.Services[name]
		if !found {
			t.Fatalf("no service %s", name)
		}
		if profile == "" && len(s.Profiles) > 0 || profile != "" && !slices.Equal(s.Profiles, []string{profile}) {
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
	if target != "/etc/logto-email-relay/config.json:ro" {
		t.Errorf("the configuration is mounted at %s", target)
	}
	c, err := load(t, read(t, mounted))
	if err != nil {
		t.Fatal(err)
	}
	if shared := c.Providers[0].Shared(); shared.Name != "mailpit" || shared.Type != "smtp" {
		t.Errorf("the relay sends through %s (%s)", shared.Name, shared.Type)
	}
	if _, isSet := relay.Environment["RELAY_TOKEN"]; !isSet {
		t.Error("the relay's token is not set")
	}
}

// The image starts what the health check asks.
func TestTheDockerfileFitsTheProgram(t *testing.T) {
	dockerfile := read(t, "Dockerfile")
	for _, want := range []string{"FROM scratch", "CGO_ENABLED=0", "USER 65532", "ca-certificates.crt",
		`ENTRYPOINT ["/logto-email-relay"]`, `CMD ["/logto-email-relay", "healthcheck"]`, "WORKDIR /etc/logto-email-relay"} {
		if !strings.Contains(dockerfile, want) {
			t.Errorf("the Dockerfile lacks %q", want)
		}
	}
}
