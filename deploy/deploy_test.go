// Package deploy_test runs the files by which the relay is installed through the
// programs that read them. The balancers are in e2e, where they stand before real
// relays.
package deploy_test

import (
	"bytes"
	"flag"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"logto-email-relay/commands"
)

var update = flag.Bool("update", false, "write the plain manifest and the chart's alerts anew")

// need skips the test where a program is missing, or fails it where everything has to
// be there.
func need(t *testing.T, name string) {
	t.Helper()
	if _, err := exec.LookPath(name); err == nil {
		return
	}
	if os.Getenv("RELAY_TEST_REQUIRE") == "1" {
		t.Fatalf("%s is not installed, and RELAY_TEST_REQUIRE=1", name)
	}
	t.Skip(name + " is not installed")
}

// run runs a program that should succeed, and returns what it prints.
func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
	return string(out)
}

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestComposeFile(t *testing.T) {
	need(t, "compose-config")
	t.Setenv("RELAY_TOKEN", "a-token-of-the-test")
	for profiles, services := range map[string]string{
		"":      "mailpit relay",
		"logto": "logto mailpit postgres relay",
		"scale": "mailpit nginx postgres redis relay relay-1 relay-2",
	} {
		out := run(t, "compose-config", append([]string{"../docker-compose.yml"}, strings.Fields(profiles)...)...)
		if got := strings.Join(strings.Fields(out), " "); got != services {
			t.Errorf("profile %q has the services %s", profiles, got)
		}
	}
	t.Setenv("RELAY_TOKEN", "")
	if out, err := exec.Command("compose-config", "../docker-compose.yml").CombinedOutput(); err == nil {
		t.Errorf("it starts without a token of its own: %s", out)
	}
}

func TestUnitsOfSystemd(t *testing.T) {
	need(t, "systemd-analyze")
	units, err := filepath.Glob("systemd/*")
	if err != nil || len(units) != 3 {
		t.Fatal(units, err)
	}
	dir := t.TempDir()
	for i, unit := range units { // the program is not installed here, and verify looks for it
		units[i] = filepath.Join(dir, filepath.Base(unit))
		text := strings.ReplaceAll(read(t, unit), "/usr/bin/logto-email-relay", "/bin/sh")
		if err := os.WriteFile(units[i], []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if out := run(t, "systemd-analyze", append([]string{"verify", "--man=no"}, units...)...); strings.Contains(out, dir) {
		t.Errorf("systemd warns: %s", out)
	}
	// Exposure of 2.0 at most.
	run(t, "systemd-analyze", "security", "--offline=true", "--threshold=20", filepath.Join(dir, "logto-email-relay.service"))
}

const (
	chart       = "helm/logto-email-relay"
	manifest    = "kubernetes/logto-email-relay.yaml"
	kubeVersion = "1.34.0" // that of the schemas in testdata/kubernetes
	everything  = "autoscaling.enabled=true,serviceMonitor.enabled=true,prometheusRule.enabled=true,podAnnotations.a=b," +
		"service.annotations.a=b,serviceMonitor.labels.a=b,prometheusRule.labels.a=b,nodeSelector.a=b,imagePullSecrets[0].name=a," +
		"volumes[0].name=a,volumes[0].configMap.name=a,volumeMounts[0].name=a,volumeMounts[0].mountPath=/a"
)

// object is what the tests look at of an object of Kubernetes.
type object struct {
	Kind     string
	Metadata struct {
		Name   string
		Labels map[string]string
	}
	Data map[string]string
	Spec struct {
		Ports     []struct{ Name string }
		Endpoints []struct {
			Port          string
			Authorization struct{ Credentials struct{ Name, Key string } }
		}
		JobLabel string `yaml:"jobLabel"`
		Selector any
		Groups   any
		Template struct {
			Metadata struct{ Annotations map[string]string }
			Spec     struct {
				Containers []struct {
					Ports []struct {
						ContainerPort int `yaml:"containerPort"`
					}
				}
			}
		}
	}
}

func objects(t *testing.T, text string) (list []object) {
	t.Helper()
	for decoder := yaml.NewDecoder(strings.NewReader(text)); ; {
		var o object
		switch err := decoder.Decode(&o); {
		case err == io.EOF:
			return list
		case err != nil:
			t.Fatal(err)
		case o.Kind != "":
			list = append(list, o)
		}
	}
}

func find(t *testing.T, list []object, kind string) object {
	t.Helper()
	i := slices.IndexFunc(list, func(o object) bool { return o.Kind == kind })
	if i < 0 {
		t.Fatalf("there is no %s", kind)
	}
	return list[i]
}

func render(t *testing.T, values ...string) string {
	t.Helper()
	need(t, "helm")
	args := []string{"template", "logto-email-relay", chart, "--kube-version", kubeVersion}
	for _, value := range values {
		args = append(args, "--set", value)
	}
	return run(t, "helm", args...)
}

// conforms checks objects against Kubernetes' own schemas. Those of the Prometheus
// Operator are not among them: TestMonitoringFits looks at these.
func conforms(t *testing.T, text string) {
	t.Helper()
	need(t, "kubeconform")
	cmd := exec.Command("kubeconform", "-strict", "-summary", "-skip", "ServiceMonitor,PrometheusRule", "-schema-location",
		"testdata/kubernetes/{{ .ResourceKind }}{{ .KindSuffix }}.json")
	cmd.Stdin = strings.NewReader(text)
	if out, err := cmd.CombinedOutput(); err != nil || !bytes.Contains(out, []byte("Invalid: 0, Errors: 0")) {
		t.Errorf("%v: %s", err, out)
	}
}

func TestChart(t *testing.T) {
	need(t, "helm")
	run(t, "helm", "lint", "--strict", chart)
	conforms(t, render(t))
	conforms(t, render(t, everything))
	conforms(t, render(t, "podDisruptionBudget.enabled=false"))

	for _, wrong := range []string{"replica=3", "image.pullPolicy=never", "existingSecret=", "terminationGracePeriodSeconds=5",
		"config.server.address=127.0.0.1:8080", "config.admin.address=localhost:9090", "config.server.address=8080", "config.server.address=:080", "config.admin.address=null"} {
		if out, err := exec.Command("helm", "template", "x", chart, "--kube-version", kubeVersion, "--set", wrong).CombinedOutput(); err == nil {
			t.Errorf("%s is taken: %s", wrong, out)
		}
	}

	// The pod's ports are those of the configuration.
	pod := find(t, objects(t, render(t, "config.server.address=0.0.0.0:8081,config.admin.address=[::]:9091")), "Deployment").Spec.Template.Spec
	if ports := pod.Containers[0].Ports; ports[0].ContainerPort != 8081 || ports[1].ContainerPort != 9091 {
		t.Errorf("the ports are %v", ports)
	}

	// A change of the configuration brings new pods.
	checksum := func(values ...string) string {
		return find(t, objects(t, render(t, values...)), "Deployment").Spec.Template.Metadata.Annotations["checksum/config"]
	}
	if before, after := checksum(), checksum("config.uncertain=fail"); before == "" || before == after {
		t.Errorf("the configuration has the checksum %q and, when it is another, %q", before, after)
	}
}

// check asks the relay what it thinks of the configuration in a ConfigMap.
func check(t *testing.T, text string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "config.json")
	if err := os.WriteFile(file, []byte(find(t, objects(t, text), "ConfigMap").Data["config.json"]), 0o600); err != nil {
		t.Fatal(err)
	}
	environment := []string{"RELAY_TOKEN=7Jw1tq0vRkXb9sYcZ2", "ADMIN_TOKEN=fQ4mZr8uLd3nVx6tKp", "SMTP_PASSWORD=a-password"}
	var out bytes.Buffer
	if code := commands.Run(t.Context(), []string{"check", "--config", file}, environment, &out, &out, nil); code != 0 {
		t.Errorf("the relay does not take it: %s", &out)
	}
}

// The plain manifest is what the chart gives, without Helm's own marks.
func TestManifest(t *testing.T) {
	marks := regexp.MustCompile(`(?m)^( *helm\.sh/chart:| *app\.kubernetes\.io/(managed-by|instance|version):|# Source:| +annotations:\n +checksum/config:).*\n`)
	rendered := "# What deploy/helm/logto-email-relay gives with its own values. Change the image, the\n" +
		"# configuration and the number of replicas, and make the Secret first:\n#\n" +
		"#   kubectl create secret generic logto-email-relay --from-literal=RELAY_TOKEN=$(openssl rand -hex 32) \\\n" +
		"#     --from-literal=ADMIN_TOKEN=$(openssl rand -hex 32) --from-literal=SMTP_PASSWORD=…\n#\n" +
		"# A change of the configuration is read without a restart, about a minute later.\n" +
		marks.ReplaceAllString(render(t), "")
	conforms(t, rendered)
	check(t, rendered)
	if *update {
		if err := os.WriteFile(manifest, []byte(rendered), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if rendered != read(t, manifest) {
		t.Errorf("%s is not what the chart gives: go test ./deploy -update", manifest)
	}
}

// The ServiceMonitor finds the Service, its port and the token that the relay asks for,
// and gives the job its name. The rules are those of deploy/prometheus, which are tested.
func TestMonitoringFits(t *testing.T) {
	alerts := read(t, "prometheus/alerts.yml")
	list := objects(t, render(t, everything))
	monitor := find(t, list, "ServiceMonitor").Spec
	endpoint := monitor.Endpoints[0]
	wanted := monitor.Selector.(map[string]any)["matchLabels"].(map[string]any)
	found := 0
	for _, o := range list {
		matches := o.Kind == "Service"
		for key, value := range wanted {
			matches = matches && o.Metadata.Labels[key] == value
		}
		if !matches {
			continue
		}
		found++
		if o.Spec.Ports[0].Name != endpoint.Port {
			t.Errorf("it asks the port %s of %s", endpoint.Port, o.Metadata.Name)
		}
		if job := o.Metadata.Labels[monitor.JobLabel]; !strings.Contains(alerts, `up{job="`+job+`"}`) {
			t.Errorf("the job is %q, and the alerts look for another", job)
		}
	}
	if found != 1 {
		t.Errorf("it finds %d services", found)
	}
	token := `"token": "${` + endpoint.Authorization.Credentials.Key + `}"`
	if config := find(t, list, "ConfigMap").Data["config.json"]; !strings.Contains(config, token) {
		t.Errorf("it asks without %s in %s", token, config)
	}
	if name := endpoint.Authorization.Credentials.Name; name != "logto-email-relay" {
		t.Errorf("it looks for the token in the secret %s", name)
	}

	if *update {
		if err := os.WriteFile(chart+"/alerts.yml", []byte(alerts), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if read(t, chart+"/alerts.yml") != alerts {
		t.Errorf("the chart's alerts are not those of deploy/prometheus: go test ./deploy -update")
	}
	var file struct{ Groups any }
	if err := yaml.Unmarshal([]byte(alerts), &file); err != nil {
		t.Fatal(err)
	}
	if rules := find(t, list, "PrometheusRule").Spec.Groups; rules == nil || !reflect.DeepEqual(rules, file.Groups) {
		t.Errorf("the PrometheusRule has %v", rules)
	}
}
