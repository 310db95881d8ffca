package commands

import (
	"strings"
	"testing"

	"logto-email-relay/config"
)

// writes keeps what every call of Write brought.
type writes []string

func (w *writes) Write(b []byte) (int, error) {
	*w = append(*w, string(b))
	return len(b), nil
}

func TestLinesOfOneRequestAreOneWrite(t *testing.T) {
	for level, want := range map[string]string{
		"info":  `first|mail,request|last`,
		"debug": `first|mail,request|last`,
		// Here the line of a request that ends well is not written.
		"warn": `first|mail|request|last`,
	} {
		var out writes
		general, mails := newLoggers(config.Log{Level: level, Format: "json"}, &out)
		general.Error("first")
		mails.Error("mail")
		general.Error("request")
		general.Error("last")
		var got []string
		for _, write := range out {
			var messages []string
			for line := range strings.Lines(write) {
				_, rest, _ := strings.Cut(line, `"msg":"`)
				messages = append(messages, strings.TrimSuffix(strings.TrimSpace(rest), `"}`))
			}
			got = append(got, strings.Join(messages, ","))
		}
		if joined := strings.Join(got, "|"); joined != want {
			t.Errorf("at level %s the log was written as %s, want %s", level, joined, want)
		}
	}
}
