package app_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write deploy/grafana/dashboard.json anew")

const dashboardFile = "../deploy/grafana/dashboard.json"

// panel is one picture of the dashboard. Queries name a job as $job.
type panel struct {
	kind, title, unit string
	// queries are pairs of an expression and of what its line is called.
	queries []string
}

// dashboard is deploy/grafana/dashboard.json, by rows.
var dashboard = []struct {
	title  string
	panels []panel
}{
	{"Now", []panel{
		{"stat", "Mails accepted in an hour", "short", []string{`sum(increase(relay_mails_total{job="$job", error=""}[1h]))`, ""}},
		{"stat", "Not accepted, in an hour", "percentunit", []string{
			`sum(increase(relay_mails_total{job="$job", error=~"provider_refused|provider_unavailable|timeout|uncertain|internal"}[1h])) / sum(increase(relay_mails_total{job="$job"}[1h]))`, ""}},
		{"stat", "Half of the webhooks are answered within", "s", []string{
			`histogram_quantile(0.5, sum by (le) (rate(relay_request_duration_seconds_bucket{job="$job"}[1h])))`, ""}},
		{"stat", "Providers that rest", "short", []string{`sum(max by (provider) (relay_provider_resting{job="$job"}))`, ""}},
		{"stat", "Changes refused", "short", []string{
			`sum(1 - relay_config_last_reload_successful{job="$job"}) + sum(1 - relay_templates_last_reload_successful{job="$job"})`, ""}},
		{"stat", "Version", "short", []string{`count by (version) (relay_build_info{job="$job"})`, "{{version}}"}},
	}},
	{"Mails", []panel{
		{"timeseries", "Mails by outcome", "cpm", []string{
			`60 * sum by (error) (rate(relay_mails_total{job="$job"}[$__rate_interval])) > 0`, `{{error}}`}},
		{"timeseries", "Accepted by provider", "cpm", []string{
			`60 * sum by (provider) (rate(relay_mails_total{job="$job", error=""}[$__rate_interval]))`, "{{provider}}"}},
		{"timeseries", "By message type", "cpm", []string{
			`60 * sum by (type) (rate(relay_mails_total{job="$job"}[$__rate_interval])) > 0`, "{{type}}"}},
		{"timeseries", "Time to the answer", "s", []string{
			`histogram_quantile(0.5, sum by (le) (rate(relay_request_duration_seconds_bucket{job="$job"}[$__rate_interval])))`, "half",
			`histogram_quantile(0.99, sum by (le) (rate(relay_request_duration_seconds_bucket{job="$job"}[$__rate_interval])))`, "99 of 100",
			`min(relay_request_timeout_seconds{job="$job"})`, "server.timeout"}},
		{"timeseries", "Answers", "cpm", []string{
			`60 * sum by (status, error) (rate(relay_requests_total{job="$job"}[$__rate_interval])) > 0`, "{{status}} {{error}}"}},
		{"timeseries", "Webhooks by tenant or authorization", "cpm", []string{
			`60 * sum by (authorization) (rate(relay_requests_total{job="$job"}[$__rate_interval])) > 0`, "{{authorization}}"}},
	}},
	{"Providers", []panel{
		{"state-timeline", "Resting, and of what", "bool_yes_no", []string{
			`max by (provider, cause) (relay_provider_rest_cause{job="$job"})`, "{{provider}}: {{cause}}"}},
		{"timeseries", "Attempts that failed", "cpm", []string{
			`60 * sum by (provider, kind) (rate(relay_attempts_total{job="$job", kind!="accepted"}[$__rate_interval])) > 0`, "{{provider}}: {{kind}}"}},
		{"timeseries", "Time of 99 of 100 attempts", "s", []string{
			`histogram_quantile(0.99, sum by (provider, le) (rate(relay_attempt_duration_seconds_bucket{job="$job"}[$__rate_interval])))`, "{{provider}}"}},
		{"timeseries", "Sends under way, as a share of maxConcurrent", "percentunit", []string{
			`max by (provider) (relay_provider_in_flight{job="$job"} / relay_provider_max_concurrent{job="$job"})`, "{{provider}}"}},
		{"timeseries", "Connections to SMTP servers", "short", []string{
			`sum by (provider, state) (relay_provider_connections{job="$job"})`, "{{provider}}: {{state}}"}},
	}},
	{"What becomes of the mails", []panel{
		{"timeseries", "Reported by services", "cpm", []string{
			`60 * sum by (provider, status) (rate(relay_events_total{job="$job"}[$__rate_interval])) > 0`, "{{provider}}: {{status}}"}},
		{"timeseries", "Bounced, of those accepted in 6 hours", "percentunit", []string{
			`sum by (provider) (increase(relay_events_total{job="$job", status="bounced"}[6h])) / sum by (provider) (increase(relay_attempts_total{job="$job", kind="accepted"}[6h]))`, "{{provider}}"}},
		{"timeseries", "Called spam, of those accepted in a day", "percentunit", []string{
			`sum by (provider) (increase(relay_events_total{job="$job", status="complained"}[1d])) / sum by (provider) (increase(relay_attempts_total{job="$job", kind="accepted"}[1d]))`, "{{provider}}"}},
		{"timeseries", "Not sent: suppressed, refused, limited", "cpm", []string{
			`60 * sum by (error) (rate(relay_mails_total{job="$job", error=~"recipient_suppressed|recipient_refused|rate_limited"}[$__rate_interval]))`, "{{error}}"}},
	}},
	{"Record, log and process", []panel{
		{"timeseries", "Deliveries that wait for the database", "short", []string{`max by (instance) (relay_deliveries_queue_length{job="$job"})`, "{{instance}}"}},
		{"state-timeline", "In trouble", "bool_yes_no", []string{
			`max by (instance) (relay_degraded{job="$job"})`, "{{instance}}: degraded",
			`max by (instance) (relay_deliveries_behind{job="$job"})`, "{{instance}}: record in memory"}},
		{"timeseries", "Lost in an hour", "short", []string{
			`sum(increase(relay_deliveries_lost_total{job="$job"}[1h]))`, "deliveries",
			`sum(increase(relay_log_lines_dropped_total{job="$job"}[1h]))`, "lines of the log",
			`sum(increase(relay_suppressions_skipped_total{job="$job"}[1h]))`, "looks at suppressions"}},
		{"timeseries", "Memory", "bytes", []string{`process_resident_memory_bytes{job="$job"}`, "{{instance}}"}},
		{"timeseries", "Processors", "short", []string{`rate(process_cpu_seconds_total{job="$job"}[$__rate_interval])`, "{{instance}}"}},
		{"timeseries", "File descriptors, as a share of those allowed", "percentunit", []string{
			`process_open_fds{job="$job"} / process_max_fds{job="$job"}`, "{{instance}}"}},
	}},
}

type object = map[string]any

// dashboardJSON lays the panels out for Grafana: three beside each other, six of the
// small ones.
func dashboardJSON(t *testing.T) []byte {
	t.Helper()
	source := object{"type": "prometheus", "uid": "${datasource}"}
	var panels []object
	id, y := 0, 0
	add := func(p object, x, width, height int) {
		id++
		p["id"], p["gridPos"] = id, object{"x": x, "y": y, "w": width, "h": height}
		panels = append(panels, p)
	}
	for _, row := range dashboard {
		add(object{"type": "row", "title": row.title, "collapsed": false, "panels": []object{}}, 0, 24, 1)
		y++
		x, height := 0, 0
		for _, p := range row.panels {
			width := 8
			if height = 8; p.kind == "stat" {
				width, height = 4, 4
			}
			if x+width > 24 {
				x, y = 0, y+height
			}
			var targets []object
			for i := 0; i < len(p.queries); i += 2 {
				target := object{"refId": string(rune('A' + i/2)), "expr": p.queries[i], "legendFormat": p.queries[i+1], "datasource": source}
				if p.kind == "stat" {
					target["instant"] = true
				}
				targets = append(targets, target)
			}
			options := object{}
			if p.title == "Version" {
				options["textMode"] = "name"
			}
			add(object{"type": p.kind, "title": p.title, "datasource": source, "targets": targets, "options": options,
				"fieldConfig": object{"defaults": object{"unit": p.unit, "min": 0}, "overrides": []any{}}}, x, width, height)
			x += width
		}
		y += height
	}
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	err := encoder.Encode(object{
		"title": "logto-email-relay", "uid": "logto-email-relay", "tags": []string{"logto", "mail"}, "schemaVersion": 39, "editable": true,
		"time": object{"from": "now-6h", "to": "now"}, "refresh": "1m", "panels": panels,
		"templating": object{"list": []object{
			{"name": "datasource", "type": "datasource", "query": "prometheus", "label": "Prometheus"},
			{"name": "job", "type": "query", "datasource": source, "query": "label_values(relay_build_info, job)", "refresh": 1, "label": "Job"},
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return text.Bytes()
}

// The dashboard is made from the table above: go test ./app -run Dashboard -update.
func TestTheDashboardIsUpToDate(t *testing.T) {
	want := dashboardJSON(t)
	if *update {
		if err := os.WriteFile(dashboardFile, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(dashboardFile)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%s is not what the table gives (%v): go test ./app -run Dashboard -update", dashboardFile, err)
	}
}

// dashboardQueries are all expressions, as Prometheus sees them.
func dashboardQueries() (list []string) {
	for _, row := range dashboard {
		for _, p := range row.panels {
			for i := 0; i < len(p.queries); i += 2 {
				list = append(list, strings.NewReplacer("$__rate_interval", "5m", "$job", "logto-email-relay").Replace(p.queries[i]))
			}
		}
	}
	return list
}
