package handlers

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"logto-email-relay/deliveries"
	"logto-email-relay/handlers/web"
	"logto-email-relay/mail"
	"logto-email-relay/providers"
	"logto-email-relay/settings"
)

// fakeReceiver understands calls by its function.
type fakeReceiver func(header http.Header, body []byte) ([]mail.Report, error)

func (f fakeReceiver) Events(_ context.Context, header http.Header, body []byte, _ time.Time) ([]mail.Report, error) {
	return f(header, body)
}

// fakeEventRecord takes events by its function.
type fakeEventRecord func([]mail.Report) ([]mail.Event, int, error)

func (f fakeEventRecord) Apply(_ context.Context, reports []mail.Report) ([]mail.Event, int, error) {
	return f(reports)
}

func takesAll(reports []mail.Report) (applied []mail.Event, unknown int, err error) {
	for _, r := range reports {
		if r.ID == "" {
			unknown++
		} else {
			applied = append(applied, r.Event)
		}
	}
	return applied, unknown, nil
}

func eventRequest(provider, body string) *http.Request {
	return httptest.NewRequest(http.MethodPost, "/events/"+provider, strings.NewReader(body))
}

func TestEventsAreTaken(t *testing.T) {
	log := new(logs)
	const body = "  the body, byte for byte\r\n"
	var got []mail.Report
	o := testOptions()
	o.AllowedIPs = []settings.Network{{Prefix: netip.MustParsePrefix("203.0.113.7/32")}} // Logto's, and not the services'
	o.Events = map[string]EventReceiver{"main": fakeReceiver(func(header http.Header, came []byte) ([]mail.Report, error) {
		if string(came) != body || header.Get("Signature") != "s" {
			t.Errorf("came %q with %v", came, header)
		}
		return []mail.Report{{ID: "1", Event: mail.Event{Status: mail.StatusDelivered}}, {ID: "2", Event: mail.Event{Status: mail.StatusBounced}},
			{ID: "3", Event: mail.Event{Status: mail.StatusBounced}}, {}}, nil
	})}
	o.EventRecord = fakeEventRecord(func(reports []mail.Report) ([]mail.Event, int, error) {
		got = reports
		return takesAll(reports)
	})
	public := publicOver(o, nil, log)
	r := eventRequest("main", body)
	r.Header.Set("Signature", "s")
	answer := serve(public, r)
	if text := bodyOf(t, answer); answer.StatusCode != 200 || text != "" {
		t.Errorf("answered %d %q", answer.StatusCode, text)
	}
	if len(got) != 4 || got[0].Provider != "main" || got[3].Provider != "main" {
		t.Errorf("recorded %+v", got)
	}
	if text := log.String(); strings.Contains(text, "byte for byte") || !strings.Contains(text, `"path":"/events/:provider"`) {
		t.Errorf("logged %s", text)
	}
}

// Series are there before the first event, and count each event once.
func TestEventsAreCounted(t *testing.T) {
	registry := prometheus.NewRegistry()
	m := NewMetrics(registry, nil)
	m.ExpectEvents([]string{"main", "backup"})
	m.Events("main", []mail.Event{{Status: mail.StatusBounced}, {Status: mail.StatusBounced}, {Status: mail.StatusDelivered}}, 3)
	page := bodyOf(t, serve(promhttp.HandlerFor(registry, promhttp.HandlerOpts{}), httptest.NewRequest(http.MethodGet, "/metrics", nil)))
	if n := strings.Count(page, "\nrelay_events_total{"); n != 14 {
		t.Errorf("%d series", n)
	}
	for status, want := range map[string]string{"bounced": "2", "delivered": "1", "unknown": "3", "complained": "0"} {
		if line := `relay_events_total{provider="main",status="` + status + `"} ` + want + "\n"; !strings.Contains(page, line) {
			t.Errorf("there is no %s", line)
		}
	}
}

func TestEventsAreRefused(t *testing.T) {
	const secret = "never-print-this"
	refused := func(status int) EventReceiver {
		return fakeReceiver(func(http.Header, []byte) ([]mail.Report, error) {
			return nil, &providers.EventError{Status: status, Detail: "a reason", Err: errors.New(secret)}
		})
	}
	one := fakeReceiver(func(http.Header, []byte) ([]mail.Report, error) { return []mail.Report{{ID: "1"}}, nil })
	for name, c := range map[string]struct {
		receiver EventReceiver
		apply    fakeEventRecord
		body     io.Reader
		status   int
		word     mail.Reason
		retry    bool
	}{
		"malformed":       {receiver: refused(400), status: 400, word: web.Malformed},
		"unauthorized":    {receiver: refused(401), status: 401, word: web.Unauthorized},
		"forbidden":       {receiver: refused(403), status: 403, word: web.Forbidden},
		"not acceptable":  {receiver: refused(406), status: 406, word: web.NotAcceptable},
		"too many":        {receiver: refused(413), status: 413, word: web.TooLarge},
		"unavailable":     {receiver: refused(503), status: 503, word: web.Unavailable, retry: true},
		"the record":      {receiver: one, apply: func([]mail.Report) ([]mail.Event, int, error) { return nil, 0, errors.New(secret) }, status: 503, word: web.Unavailable, retry: true},
		"elsewhere":       {receiver: one, apply: func([]mail.Report) ([]mail.Event, int, error) { return nil, 1, deliveries.ErrElsewhere }, status: 503, word: web.Unavailable, retry: true},
		"behind":          {receiver: one, apply: func([]mail.Report) ([]mail.Event, int, error) { return nil, 0, deliveries.ErrBehind }, status: 503, word: web.Unavailable, retry: true},
		"large body":      {receiver: one, body: strings.NewReader(strings.Repeat(secret, maxEventBody/len(secret)+1)), status: 413, word: web.TooLarge},
		"endless body":    {receiver: one, body: io.MultiReader(strings.NewReader(strings.Repeat(secret, maxEventBody/len(secret)+1))), status: 413, word: web.TooLarge},
		"cut body":        {receiver: one, body: io.MultiReader(strings.NewReader(secret), broken{}), status: 400, word: web.Malformed},
		"fault of ours":   {receiver: fakeReceiver(func(http.Header, []byte) ([]mail.Report, error) { panic(secret) }), status: 500, word: mail.Internal},
		"another failure": {receiver: fakeReceiver(func(http.Header, []byte) ([]mail.Report, error) { return nil, io.EOF }), status: 500, word: mail.Internal},
	} {
		t.Run(name, func(t *testing.T) {
			log := new(logs)
			o := testOptions()
			o.Events, o.EventRecord = map[string]EventReceiver{"main": c.receiver}, c.apply
			body := c.body
			if body == nil {
				body = strings.NewReader(secret)
			}
			answer := serve(publicOver(o, nil, log), httptest.NewRequest(http.MethodPost, "/events/main?"+secret, body))
			checkFailure(t, answer, c.status, c.word, "en")
			if (answer.Header.Get("Retry-After") != "") != c.retry {
				t.Errorf("Retry-After is %q", answer.Header.Get("Retry-After"))
			}
			if asks := strings.HasPrefix(answer.Header.Get("WWW-Authenticate"), "Basic "); asks != (c.status == 401) {
				t.Errorf("WWW-Authenticate is %q", answer.Header.Get("WWW-Authenticate"))
			}
			if text := log.String(); strings.Contains(text, secret) {
				t.Errorf("logged %s", text)
			}
		})
	}
}

// broken is a body that breaks off.
type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func TestEventsOfNobody(t *testing.T) {
	o := testOptions()
	o.Events = map[string]EventReceiver{"main": fakeReceiver(func(http.Header, []byte) ([]mail.Report, error) { return nil, nil })}
	some, none := publicOver(o, nil, new(logs)), publicWith(nil, new(logs))
	for _, h := range []http.Handler{some, none} {
		checkFailure(t, serve(h, eventRequest("backup", "{}")), 404, web.NotFound, "en")
		checkFailure(t, serve(h, eventRequest("", "{}")), 404, web.NotFound, "en")
		checkFailure(t, serve(h, eventRequest("main/x", "{}")), 404, web.NotFound, "en")
	}
	checkFailure(t, serve(some, httptest.NewRequest(http.MethodGet, "/events/main", nil)), 405, web.MethodNotAllowed, "en")
	checkFailure(t, serve(none, eventRequest("main", "{}")), 404, web.NotFound, "en")
	checkFailure(t, serve(none, httptest.NewRequest(http.MethodGet, "/events/main", nil)), 404, web.NotFound, "en")
}

// Strangers whose bodies never come keep no service out.
func TestBodiesOfEventsMakeRoom(t *testing.T) {
	o := testOptions()
	o.Timeout = 2 * patience // so that nothing but another one ends the wait
	o.Events = map[string]EventReceiver{"main": fakeReceiver(func(http.Header, []byte) ([]mail.Report, error) { return nil, nil })}
	o.EventRecord = fakeEventRecord(takesAll)
	server := start(t, publicOver(o, nil, new(logs)), new(logs))
	const more = 3
	givenUp := make(chan *http.Response, eventBodies+more)
	for range eventBodies + more {
		c := dial(t, server)
		c.send(t, "POST /events/main HTTP/1.1\r\nHost: relay\r\nContent-Length: 100\r\n\r\n{")
		go func() {
			if got, err := http.ReadResponse(c.reader, nil); err == nil {
				givenUp <- got
			}
		}()
	}
	for range more {
		if got := <-givenUp; got.StatusCode != 503 || !got.Close {
			t.Errorf("a stranger got %d", got.StatusCode)
		}
	}
	if len(givenUp) > 0 {
		t.Error("more were given up than have to be")
	}
	for range more { // and they keep nobody out
		c := dial(t, server)
		c.send(t, "POST /events/main HTTP/1.1\r\nHost: relay\r\nContent-Length: 2\r\n\r\n{}")
		if got, _ := c.answer(t); got.StatusCode != 200 {
			t.Errorf("a service got %d", got.StatusCode)
		}
	}
}

// dropsUnavailable is a service that reports nothing again after a 503.
type dropsUnavailable struct{ fakeReceiver }

func (dropsUnavailable) DropsUnavailable() bool { return true }

func TestAServiceThatDropsWhatIsUnavailable(t *testing.T) {
	o := testOptions()
	o.Events = map[string]EventReceiver{"main": dropsUnavailable{func(http.Header, []byte) ([]mail.Report, error) { return []mail.Report{{ID: "1"}}, nil }}}
	o.EventRecord = fakeEventRecord(func([]mail.Report) ([]mail.Event, int, error) { return nil, 0, deliveries.ErrBehind })
	answer := serve(publicOver(o, nil, new(logs)), eventRequest("main", "{}"))
	checkFailure(t, answer, 429, mail.RateLimited, "en")
	if answer.Header.Get("Retry-After") != "30" {
		t.Errorf("Retry-After is %q", answer.Header.Get("Retry-After"))
	}
}

// A service may report a burst of its own.
func TestABurstOfEventsWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := testOptions()
		o.Events = map[string]EventReceiver{"main": fakeReceiver(func(http.Header, []byte) ([]mail.Report, error) {
			time.Sleep(100 * time.Millisecond)
			return nil, nil
		})}
		public := publicOver(o, nil, new(logs))
		statuses := make(chan int, 10*eventCalls)
		for range cap(statuses) {
			go func() { statuses <- serve(public, eventRequest("main", "{}")).StatusCode }()
		}
		for range cap(statuses) {
			if status := <-statuses; status != 200 {
				t.Fatalf("got %d", status)
			}
		}
	})
}

// What is there and waits has a bound in bytes, and who is sent away leaves his room.
func TestBodiesOfEventsThatWaitHaveABound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hold := make(chan struct{})
		o := testOptions()
		o.Events = map[string]EventReceiver{"main": fakeReceiver(func(http.Header, []byte) ([]mail.Report, error) { <-hold; return nil, nil })}
		public := publicOver(o, nil, new(logs))
		large := strings.Repeat(" ", maxEventBody)
		const fit = eventBytes / maxEventBody
		statuses := make(chan int, fit)
		for range 2 {
			for range fit {
				go func() { statuses <- serve(public, eventRequest("main", large)).StatusCode }()
			}
			synctest.Wait()
			if len(statuses) > 0 {
				t.Fatalf("%d were answered at once", len(statuses))
			}
			checkFailure(t, serve(public, eventRequest("main", "{}")), 503, web.Unavailable, "en")
			time.Sleep(eventPatience)
			synctest.Wait()
			for range eventCalls {
				hold <- struct{}{}
			}
			byStatus := make(map[int]int)
			for range fit {
				byStatus[<-statuses]++
			}
			if byStatus[200] != eventCalls || byStatus[503] != fit-eventCalls {
				t.Errorf("answers by status: %v", byStatus)
			}
		}
	})
}

// A body that was read waits for nothing any more.
func TestEventsOneAfterTheOther(t *testing.T) {
	o := testOptions()
	o.Events = map[string]EventReceiver{"main": fakeReceiver(func(http.Header, []byte) ([]mail.Report, error) { return nil, nil })}
	c := dial(t, start(t, publicOver(o, nil, new(logs)), new(logs)))
	for i := range eventBodies + 1 {
		c.send(t, "POST /events/main HTTP/1.1\r\nHost: relay\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
		for _, status := range []int{100, 200} { // the first says that the body is waited for
			if got, err := http.ReadResponse(c.reader, nil); err != nil || got.StatusCode != status {
				t.Fatalf("call %d: %v, %v", i, got, err)
			}
			if status == 100 {
				c.send(t, "{}")
			}
		}
	}
}

// So many calls are under way at a time; who comes then waits for a moment and is
// asked to come again, and webhooks go on.
func TestEventsHaveABound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hold := make(chan struct{})
		o := testOptions()
		o.Events = map[string]EventReceiver{"main": fakeReceiver(func(http.Header, []byte) ([]mail.Report, error) { <-hold; return nil, nil })}
		public := publicOver(o, nil, new(logs))
		for range eventCalls {
			go serve(public, eventRequest("main", "{}"))
		}
		synctest.Wait()
		begin := time.Now()
		checkFailure(t, serve(public, eventRequest("main", "{}")), 503, web.Unavailable, "en")
		if waited := time.Since(begin); waited != eventPatience {
			t.Errorf("waited %v", waited)
		}
		if got := serve(public, httptest.NewRequest(http.MethodGet, "/healthz", nil)); got.StatusCode != 200 {
			t.Errorf("got %d", got.StatusCode)
		}
		close(hold)
		synctest.Wait()
		if got := serve(public, eventRequest("main", "{}")); got.StatusCode != 200 {
			t.Errorf("got %d", got.StatusCode)
		}
	})
}
