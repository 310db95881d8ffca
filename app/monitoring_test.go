package app_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
)

const prometheusFolder = "../deploy/prometheus"

type alert struct {
	Alert, Expr         string
	Labels, Annotations map[string]string
}

func readYAML(t *testing.T, file string, into any) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(prometheusFolder, file))
	if err == nil {
		err = yaml.Unmarshal(text, into)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func alerts(t *testing.T) (list []alert) {
	t.Helper()
	var file struct{ Groups []struct{ Rules []alert } }
	readYAML(t, "alerts.yml", &file)
	for _, group := range file.Groups {
		list = append(list, group.Rules...)
	}
	if len(list) < 15 {
		t.Fatalf("only %d alerts found", len(list))
	}
	return list
}

// Each alert says how urgent it is and has a section that tells what to do.
func TestEveryAlertIsDocumented(t *testing.T) {
	page, err := os.ReadFile("../docs/monitoring.md")
	if err != nil {
		t.Fatal(err)
	}
	headings := make(map[string]string) // what stands below them
	for _, section := range strings.Split(string(page), "\n### ")[1:] {
		heading, text, _ := strings.Cut(section, "\n")
		headings[heading], _, _ = strings.Cut(text, "\n## ")
	}
	known := make(map[string]bool)
	for _, a := range alerts(t) {
		known[a.Alert] = true
		if a.Annotations["summary"] == "" || a.Annotations["runbook"] != "docs/monitoring.md#"+strings.ToLower(a.Alert) {
			t.Errorf("%s has the annotations %v", a.Alert, a.Annotations)
		}
		if s := a.Labels["severity"]; s != "page" && s != "ticket" {
			t.Errorf("%s has the severity %q", a.Alert, s)
		}
		if len(strings.TrimSpace(headings[a.Alert])) < 100 {
			t.Errorf("docs/monitoring.md does not tell what to do about %s", a.Alert)
		}
	}
	for heading := range headings {
		if strings.HasPrefix(heading, "Relay") && !known[heading] {
			t.Errorf("docs/monitoring.md tells what to do about %s, which is no alert", heading)
		}
	}
}

// alerts_test.yml shows for each alert when it fires and when it does not.
func TestEveryAlertHasExamples(t *testing.T) {
	var file struct {
		Tests []struct {
			AlertRuleTest []struct {
				Alertname string
				ExpAlerts []any `yaml:"exp_alerts"`
			} `yaml:"alert_rule_test"`
		}
	}
	readYAML(t, "alerts_test.yml", &file)
	fires, quiet := make(map[string]bool), make(map[string]bool)
	for _, test := range file.Tests {
		for _, example := range test.AlertRuleTest {
			if len(example.ExpAlerts) > 0 {
				fires[example.Alertname] = true
			} else {
				quiet[example.Alertname] = true
			}
		}
	}
	for _, a := range alerts(t) {
		if !fires[a.Alert] || !quiet[a.Alert] {
			t.Errorf("%s: there is one that fires: %t, one that does not: %t", a.Alert, fires[a.Alert], quiet[a.Alert])
		}
	}
}

func promtool(t *testing.T, arguments ...string) {
	t.Helper()
	path, err := exec.LookPath("promtool")
	if err != nil {
		if os.Getenv("RELAY_TEST_REQUIRE") == "1" {
			t.Fatal("promtool is not installed, and RELAY_TEST_REQUIRE=1")
		}
		t.Skip("promtool is not installed (package prometheus)")
	}
	command := exec.Command(path, arguments...)
	command.Dir = prometheusFolder
	if out, err := command.CombinedOutput(); err != nil {
		t.Errorf("promtool %v: %v\n%s", arguments, err, out)
	}
}

func TestPrometheusTakesTheAlerts(t *testing.T) {
	promtool(t, "check", "config", "prometheus.yml") // and the rules with it
	promtool(t, "test", "rules", "alerts_test.yml")
}

func TestPrometheusTakesTheQueriesOfTheDashboard(t *testing.T) {
	var rules strings.Builder
	rules.WriteString("groups:\n  - name: dashboard\n    rules:\n")
	for _, query := range dashboardQueries() {
		rules.WriteString("      - record: a_query\n        expr: '" + query + "'\n        labels: { query: '" + strings.ReplaceAll(query, `"`, "") + "' }\n")
	}
	file := filepath.Join(t.TempDir(), "rules.yml")
	if err := os.WriteFile(file, []byte(rules.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	promtool(t, "check", "rules", file)
}

var (
	sample   = regexp.MustCompile(`(?m)^(\w+)(?:\{(.*)\})? \S+$`)
	label    = regexp.MustCompile(`(\w+)="([^"]*)"`)
	selector = regexp.MustCompile(`\b((?:relay|process|go)_\w+)(\{[^}]*\})?`)
	matcher  = regexp.MustCompile(`(\w+)(=~|!~|!=|=)"([^"]*)"`)
	grouping = regexp.MustCompile(`\b(?:by|on) \(([^)]*)\)`)
)

// Whatever alerts and dashboard ask for is there in a relay that has just begun, each
// of the values that a label may have among them.
func TestAlertsAndDashboardAskForWhatIsThere(t *testing.T) {
	r := run(t, settings{providers: []string{smtp("main", startMailServer(t)), postmark("other", "https://api.postmarkapp.com")},
		more: `, "deliveries": {"database": "deliveries.db"}`})
	series := make(map[string][]map[string]string)
	labels := map[string]bool{"job": true, "instance": true} // those of Prometheus
	for _, line := range sample.FindAllStringSubmatch(r.page("/metrics"), -1) {
		own := make(map[string]string)
		for _, l := range label.FindAllStringSubmatch(line[2], -1) {
			own[l[1]], labels[l[1]] = l[2], true
		}
		series[line[1]] = append(series[line[1]], own)
	}
	queries := dashboardQueries()
	for _, a := range alerts(t) {
		queries = append(queries, a.Expr)
	}
	for _, query := range queries {
		for _, s := range selector.FindAllStringSubmatch(query, -1) {
			name := s[1]
			if len(series[name]) == 0 {
				t.Errorf("there is no metric %s, in\n%s", name, query)
			}
			for _, m := range matcher.FindAllStringSubmatch(s[2], -1) {
				if m[1] == "job" {
					continue
				}
				for value := range strings.SplitSeq(m[3], "|") {
					if !slices.ContainsFunc(series[name], func(own map[string]string) bool { v, there := own[m[1]]; return there && v == value }) {
						t.Errorf("no %s has %s=%q, in\n%s", name, m[1], value, query)
					}
				}
			}
		}
		for _, g := range grouping.FindAllStringSubmatch(query, -1) {
			for name := range strings.SplitSeq(g[1], ", ") {
				if !labels[name] {
					t.Errorf("no metric has the label %s, in\n%s", name, query)
				}
			}
		}
	}
}
