package deliveries

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"logto-email-relay/mail"
)

// details are what nobody searches for. They stand in one column as JSON.
type details struct {
	// To is the recipient where the column does not say it: with capitals, or masked.
	To           string    `json:"to,omitempty"`
	Application  string    `json:"application,omitempty"`
	Organization string    `json:"organization,omitempty"`
	Route        int       `json:"route"`
	Reason       string    `json:"reason,omitempty"`
	Trace        string    `json:"trace,omitempty"`
	Attempts     []attempt `json:"attempts,omitempty"`
	// Redirected tells that the mail went to another address, so that what becomes of it
	// says nothing of this one.
	Redirected bool `json:"redirected,omitempty"`
}

// attempt is a mail.Attempt. Durations are in microseconds.
type attempt struct {
	Provider string `json:"provider"`
	Kind     string `json:"kind"`
	Stage    string `json:"stage,omitempty"`
	Code     string `json:"code,omitempty"`
	Detail   string `json:"detail,omitempty"`
	Hint     string `json:"hint,omitempty"`
	Start    int64  `json:"start,omitempty"`
	Duration int64  `json:"duration"`
}

// event is a mail.Event. Times are in microseconds since 1970.
type event struct {
	Time     int64  `json:"time"`
	Status   string `json:"status"`
	Provider string `json:"provider"`
	Detail   string `json:"detail,omitempty"`
	Soft     bool   `json:"soft,omitempty"`
	Ours     bool   `json:"ours,omitempty"`
	// Key is that of the report, by which it is known when it comes again.
	Key string `json:"key"`
}

// write puts rows in the table: one JSON array of arrays, in this order. A row that
// is there already is a mail's "sending", unless events were quicker than the
// verdict: theirs is the stronger status, and their provider has the mail if the verdict
// knows none. But what did not become of it at a provider that was tried before that of the
// verdict says nothing to its reader.
const (
	write = `INSERT INTO deliveries (id, time, status, type, tenant, locale, provider, provider_id, recipient, duration, data)
SELECT value->>0, CAST(value->>1 AS BIGINT), value->>2, value->>3, value->>4, value->>5, value->>6, value->>7, value->>8,
       CAST(value->>9 AS BIGINT), value->>10
FROM %s WHERE true
ON CONFLICT (%s) DO UPDATE SET
    status = CASE WHEN deliveries.status IN ('sending', 'uncertain') THEN excluded.status
        WHEN excluded.provider <> '' AND deliveries.status NOT IN ('delivered', 'complained') -- and it was tried, and the verdict's tells nothing
            AND replace(excluded.data, '"provider":"' || deliveries.provider || '"', '') <> excluded.data
            AND replace(deliveries.events, '"provider":"' || excluded.provider || '"', '') = deliveries.events THEN excluded.status
        ELSE deliveries.status END,
    provider = CASE WHEN excluded.provider = '' THEN deliveries.provider ELSE excluded.provider END,
    provider_id = excluded.provider_id, duration = excluded.duration, data = excluded.data
WHERE excluded.status <> 'sending'`

	columns = `id, time, status, type, tenant, locale, provider, provider_id, recipient, duration, data, events`
)

// encode makes the row of a delivery.
func (s *Settings) encode(d *mail.Delivery) []byte {
	recipient, to := mail.FoldAddress(d.To), d.To
	if s.Addresses == Hashed {
		recipient, to = s.hash(recipient), mail.Mask(d.To)
	}
	rest := details{Application: clean(d.Application), Organization: clean(d.Organization), Route: d.Route,
		Reason: string(d.Reason), Trace: clean(d.Trace), Redirected: d.RedirectedTo != ""}
	if to != recipient {
		rest.To = to
	}
	for _, a := range d.Attempts {
		rest.Attempts = append(rest.Attempts, attempt{a.Provider, a.Kind, a.Stage, clean(a.Code), clean(a.Detail), clean(a.Hint),
			a.Start.Microseconds(), a.Duration.Microseconds()})
	}
	// Texts, numbers and structs of them always have a JSON. That of the details is a text
	// in the row's: databases need not take it apart.
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(rest)
	data := string(bytes.TrimSuffix(text.Bytes(), []byte("\n")))
	text.Reset()
	_ = encoder.Encode([...]any{d.ID, d.Time.UnixMicro(), d.Status, clean(d.Type), clean(d.Tenant), d.Locale, d.Provider, clean(d.ProviderID),
		recipient, d.Duration.Microseconds(), data})
	return text.Bytes()
}

// hash returns what stands for an address in its column.
func (s *Settings) hash(folded string) string {
	mac := hmac.New(sha256.New, []byte(s.AddressKey.Reveal()))
	mac.Write([]byte(folded))
	return hex.EncodeToString(mac.Sum(nil)[:16])
}

// recipients are what the mails to an address may be stored under: the setting may
// have changed since.
func (s *Settings) recipients(address string) []string {
	folded := mail.FoldAddress(address)
	if s.AddressKey.Reveal() == "" {
		return []string{folded}
	}
	return []string{folded, s.hash(folded)}
}

// longestText bounds what callers and services choose, in bytes.
const longestText = 500

// clean makes a text of others fit for any database: UTF-8, without controls (no
// NUL fits in PostgreSQL), and not long.
func clean(text string) string {
	if len(text) > longestText {
		end := longestText
		for end > 0 && !utf8.RuneStart(text[end]) {
			end--
		}
		text = text[:end] + "…"
	}
	if strings.ContainsFunc(text, unicode.IsControl) {
		text = strings.Map(func(r rune) rune {
			if unicode.IsControl(r) {
				return ' '
			}
			return r
		}, text)
	}
	return strings.ToValidUTF8(text, "�")
}

// decode makes a delivery of the row that rows stand at.
func decode(rows *sql.Rows) (d mail.Delivery, err error) {
	var at, took int64
	var data, told []byte
	err = rows.Scan(&d.ID, &at, &d.Status, &d.Type, &d.Tenant, &d.Locale, &d.Provider, &d.ProviderID, &d.To, &took, &data, &told)
	if err != nil {
		return d, err
	}
	var rest details
	if err := json.Unmarshal(data, &rest); err != nil {
		return d, fmt.Errorf("the row of %s: %w", d.ID, err)
	}
	var events []event
	if err := json.Unmarshal(told, &events); err != nil {
		return d, fmt.Errorf("the events of %s: %w", d.ID, err)
	}
	d.Time, d.Duration = time.UnixMicro(at).UTC(), time.Duration(took)*time.Microsecond
	if rest.To != "" {
		d.To = rest.To
	}
	d.Application, d.Organization, d.Route, d.Reason, d.Trace = rest.Application, rest.Organization, rest.Route, mail.Reason(rest.Reason), rest.Trace
	for _, a := range rest.Attempts {
		d.Attempts = append(d.Attempts, mail.Attempt{Provider: a.Provider, Kind: a.Kind, Stage: a.Stage, Code: a.Code,
			Detail: a.Detail, Hint: a.Hint, Start: time.Duration(a.Start) * time.Microsecond, Duration: time.Duration(a.Duration) * time.Microsecond})
	}
	for _, e := range events {
		d.Events = append(d.Events, mail.Event{Time: time.UnixMicro(e.Time).UTC(), Status: mail.Status(e.Status), Provider: e.Provider,
			Detail: e.Detail, Soft: e.Soft, Ours: e.Ours})
	}
	return d, nil
}
