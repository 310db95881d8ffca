package handlers

import (
	"cmp"
	"net/http"

	"github.com/labstack/echo/v4"

	"logto-email-relay/handlers/web"
	"logto-email-relay/mail"
	"logto-email-relay/templates"
)

// Sentences are the words for the person at the sign-in page.
type Sentences interface {
	// Sentence returns one line about a failure in a language; an empty or
	// unknown locale gives the default language.
	Sentence(locale string, f templates.Failure) string
	// Locale returns the language of a mail of a type with this payload.
	Locale(messageType string, payload map[string]any) string
}

// fallbackSentence is the answer where no sentence can be had.
const fallbackSentence = "Something went wrong. Please try again in a minute."

// answerFailure is the one writer of failing answers.
func answerFailure(c echo.Context, f *web.Failure, sentences Sentences) error {
	code := web.Status(f.Reason)
	header := c.Response().Header()
	header.Set("X-Relay-Error", string(f.Reason))
	header.Set("Cache-Control", "no-store")
	header.Set("X-Content-Type-Options", "nosniff")
	switch code {
	case http.StatusUnauthorized:
		if header.Get("WWW-Authenticate") == "" {
			header.Set("WWW-Authenticate", "Bearer")
		}
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		header.Set("Retry-After", web.Seconds(f.RetryAfter))
	}
	web.Drain(c)
	text := sentence(sentences, f)
	if web.WantsJSON(c.Request().Header) {
		return web.AnswerProblem(c, f.Reason, text)
	}
	return c.Blob(code, "text/plain; charset=utf-8", []byte(text+" (ref "+web.Reference(c)+")"))
}

// sentence asks for the words and has some of its own if there are none, since
// even a bug in the catalogue must not cost the answer.
func sentence(sentences Sentences, f *web.Failure) (text string) {
	defer func() {
		if recover(); text == "" {
			text = fallbackSentence
		}
	}()
	told := templates.Failure{Reason: string(cmp.Or(f.Told, f.Reason)), Suggestion: f.Suggestion}
	if told.Reason == string(mail.RateLimited) {
		told.Wait = f.RetryAfter
	}
	return sentences.Sentence(f.Locale, told)
}
