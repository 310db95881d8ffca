package templates

type Request struct {
	Type     string
	Payload  map[string]any
	Branding Branding
}
type Mail struct {
	Locale, Subject, HTML, Text string
	Known                       bool
	Source                      string
}
