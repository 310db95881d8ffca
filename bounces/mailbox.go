package bounces

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"slices"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
)

// Mailbox is an IMAP mailbox that reports come to.
type Mailbox struct {
	// Dial connects to the server.
	Dial func(ctx context.Context) (net.Conn, error)
	// TLS says how the server's certificate is checked; nil for a connection in clear
	// text. STARTTLS begins in clear text and changes to TLS.
	TLS      *tls.Config
	STARTTLS bool
	// User and Password are the login. Where Token is set, there is an access token for
	// the user in place of a password.
	User, Password string
	Token          func(ctx context.Context) (string, error)
	// Name is that of the mailbox, such as INBOX.
	Name string
	// Delete and MoveTo are what becomes of the mails that were taken. Without either they
	// are marked as seen.
	Delete bool
	MoveTo string
	// Poll is how often to look where the server does not say by itself that there is a
	// new mail.
	Poll time.Duration
}

// Verdict is what becomes of a mail in the mailbox.
type Verdict int

const (
	// Ignored mails are not touched, and not looked at again by this process.
	Ignored Verdict = iota
	// Unknown mails are not touched either, but looked at again as long as they are new:
	// a report may come before what it is about is on record.
	Unknown
	// Taken mails are marked as seen, moved or deleted.
	Taken
)

const (
	// stepTime bounds what is asked of a server.
	stepTime = 30 * time.Second
	// retryTime is how soon a mail is handed over again.
	retryTime = 10 * time.Second
	// oldest is how far back mails are looked at, and young how long they are looked at
	// again.
	oldest = 30 * 24 * time.Hour
	young  = 10 * time.Minute
	// idleTime is how long the server is trusted to tell of new mails. After it they are
	// looked for, which also shows whether the connection is alive.
	idleTime = 5 * time.Minute
	// stepSize bounds what a server may say in a step, in bytes, and maxMails how many mails
	// it may list.
	stepSize = 4 << 20
	maxMails = 200_000
	// A mail that the server does not hand out is asked for again after firstPostponement, and then
	// after twice as long each time, up to the longest; the next one after postponedPause at the latest.
	firstPostponement, longestPostponement = time.Minute, time.Hour
	postponedPause                         = 10 * time.Second
	// shortest and longest are the pauses between tries to connect.
	shortest, longest = time.Second, 5 * time.Minute
)

// Error is what keeps a mailbox from being read.
type Error struct {
	// Stage is where it failed: connect, TLS, login, mailbox or read.
	Stage string
	// Refused tells that the server answered, Code is its word for why, which may be
	// empty, and Said are its words.
	Refused    bool
	Code, Said string
	Err        error
}

// Error tells the stage and the cause.
func (e *Error) Error() string { return e.Stage + ": " + e.Err.Error() }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Watch hands over each mail that nobody has seen yet, until the context ends. Where it
// fails it begins anew, after a pause; report is told why, and of nil once all is well. A
// mail that take returns an error for is handed over again later.
func (m *Mailbox) Watch(ctx context.Context, take func(ctx context.Context, mail []byte) (Verdict, error), report func(error)) {
	w := watch{Mailbox: m, take: take, report: report}
	for pause := shortest; ; {
		err := w.session(ctx, &pause)
		if ctx.Err() != nil {
			return
		}
		report(err)
		var failed *Error
		if errors.As(err, &failed) && failed.Stage == "login" && failed.Refused && failed.Code != string(imap.ResponseCodeUnavailable) {
			pause = longest // before the server locks the account
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return
		}
		pause = min(2*pause, longest)
	}
}

// Check signs in and opens the mailbox.
func (m *Mailbox) Check(ctx context.Context) error {
	c, err := m.open(ctx, nil)
	if err != nil {
		return err
	}
	return c.Close()
}

// client is a connection with the mailbox open.
type client struct {
	*imapclient.Client
	conn     *bounded
	stop     func() bool
	validity uint32 // of the mails' numbers
}

// Close ends the connection at once.
func (c *client) Close() error {
	c.stop()
	_ = c.conn.Close()
	_ = c.Client.Close() // waits for the reader
	return nil
}

// step does something with a connection that is cut when it takes too long, or too much.
func step(conn *bounded, stage string, do func() error) error {
	conn.left.Store(stepSize)
	late := time.AfterFunc(stepTime, func() { _ = conn.Close() })
	err := do()
	if !late.Stop() {
		err = context.DeadlineExceeded
	}
	if err == nil {
		return nil
	}
	failed := &Error{Stage: stage, Err: err}
	var answer *imap.Error
	if errors.As(err, &answer) {
		failed.Refused, failed.Code, failed.Said = true, string(answer.Code), answer.Text
	}
	return failed
}

// open connects, signs in and opens the mailbox. The connection ends with the context;
// arrived is told of new mails.
func (m *Mailbox) open(ctx context.Context, arrived func()) (*client, error) {
	dialling, cancel := context.WithTimeout(ctx, stepTime)
	defer cancel()
	dialled, err := m.Dial(dialling)
	if err != nil {
		return nil, &Error{Stage: "connect", Err: err}
	}
	conn := &bounded{Conn: dialled}
	conn.left.Store(stepSize)
	c := &client{conn: conn, stop: context.AfterFunc(ctx, func() { _ = conn.Close() })}
	options := &imapclient.Options{UnilateralDataHandler: &imapclient.UnilateralDataHandler{
		Mailbox: func(data *imapclient.UnilateralDataMailbox) {
			if data.NumMessages != nil && arrived != nil {
				arrived()
			}
		},
	}}
	err = step(conn, "TLS", func() (err error) {
		var way net.Conn = conn
		if m.TLS != nil {
			way, err = m.secured(dialling, conn)
		}
		if err == nil {
			c.Client = imapclient.New(&guarded{Conn: way}, options)
		}
		return err
	})
	if err != nil {
		c.stop()
		_ = conn.Close()
		return nil, err
	}
	if err = step(conn, "connect", c.WaitGreeting); err == nil {
		err = step(conn, "login", func() error { return m.login(dialling, c.Client) })
	}
	if err == nil {
		err = step(conn, "mailbox", func() error {
			c.Caps() // which are asked for where they are not known, and known from here on
			opened, err := c.selects(m.Name)
			if err == nil {
				c.validity = opened.UIDValidity
				if m.MoveTo != "" {
					_, err = c.Status(m.MoveTo, &imap.StatusOptions{NumMessages: true}).Wait()
				}
			}
			return err
		})
	}
	if err != nil {
		_ = c.Close()
		return nil, err
	}
	return c, nil
}

// clientName is who we are (RFC 2971).
var clientName = imap.IDData{Name: "logto-email-relay", Version: "1", Vendor: "logto-email-relay"}

// selects opens a mailbox. Coremail opens none to a client without a name, and says neither that nor
// anything else that could be told apart: https://github.com/emersion/go-imap/issues/524
func (c *client) selects(name string) (*imap.SelectData, error) {
	opened, err := c.Select(name, nil).Wait()
	var refused *imap.Error
	if !errors.As(err, &refused) || !c.Caps().Has(imap.CapID) {
		return opened, err
	}
	if _, failed := c.ID(&clientName).Wait(); failed != nil {
		return nil, err
	}
	return c.Select(name, nil).Wait()
}

func (m *Mailbox) login(ctx context.Context, c *imapclient.Client) error {
	if m.Token == nil {
		return c.Login(m.User, m.Password).Wait()
	}
	token, err := m.Token(ctx)
	if err != nil {
		return err
	}
	return c.Authenticate(xoauth2("user=" + m.User + "\x01auth=Bearer " + token + "\x01\x01"))
}

// xoauth2 is a login of the form that Google and Microsoft have:
// https://developers.google.com/workspace/gmail/imap/xoauth2-protocol
type xoauth2 string

// Start sends the whole of it.
func (x xoauth2) Start() (mechanism string, initial []byte, err error) {
	return "XOAUTH2", []byte(x), nil
}

// Next answers what a server says of a failure, which is then told as usual.
func (xoauth2) Next([]byte) ([]byte, error) { return []byte{}, nil }

// watch is one life of Watch.
type watch struct {
	*Mailbox
	take   func(context.Context, []byte) (Verdict, error)
	report func(error)
	// ignored are the mails that are of no interest, as long as the server's numbers stay
	// the same.
	ignored  map[imap.UID]bool
	validity uint32
	// postponed are the mails that the server could not hand out.
	postponed map[imap.UID]postponement
}

// session reads the mailbox over one connection. The pause before the next one is short again once it
// was read.
func (w *watch) session(ctx context.Context, pause *time.Duration) error {
	arrived := make(chan struct{}, 1)
	c, err := w.open(ctx, func() {
		select {
		case arrived <- struct{}{}:
		default:
		}
	})
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	if w.ignored == nil || w.validity != c.validity {
		w.ignored, w.postponed, w.validity = make(map[imap.UID]bool), make(map[imap.UID]postponement), c.validity
	}
	for {
		again, err := w.scan(ctx, c, pause)
		if err != nil {
			return err
		}
		*pause = shortest
		if err := w.wait(ctx, c, arrived, again); err != nil {
			return err
		}
	}
}

// scan looks at all mails that are not seen yet, and tells whether some have to be looked
// at again soon.
func (w *watch) scan(ctx context.Context, c *client, pause *time.Duration) (again bool, err error) {
	var found []imap.UID
	err = step(c.conn, "read", func() error {
		unseen := &imap.SearchCriteria{NotFlag: []imap.Flag{imap.FlagSeen, imap.FlagDeleted}, Since: time.Now().Add(-oldest)}
		if err := c.Noop().Wait(); err != nil { // some tell of new mails only then
			return err
		}
		data, err := c.UIDSearch(unseen, nil).Wait()
		if err == nil {
			found, err = uidsOf(data)
		}
		return err
	})
	if err != nil {
		return false, err
	}
	maps.DeleteFunc(w.postponed, func(uid imap.UID, _ postponement) bool { return !slices.Contains(found, uid) })
	gone := maps.Clone(w.ignored)
	for _, uid := range found {
		if delete(gone, uid); w.ignored[uid] || time.Now().Before(w.postponed[uid].until) {
			continue
		}
		mail, at, err := fetch(c, uid)
		if err != nil {
			*pause = min(*pause, postponedPause) // or else those behind it would wait for hours
			return false, w.postpone(uid, err)
		}
		delete(w.postponed, uid)
		verdict, err := w.take(ctx, mail)
		if err != nil {
			w.report(err)
			return true, nil
		}
		switch {
		case verdict == Taken:
			if err := w.finish(c, uid); err != nil {
				return false, err
			}
		case verdict == Unknown && time.Since(at) < young:
			again = true
		default: // whatever becomes of this connection
			w.ignored[uid] = true
		}
	}
	for uid := range gone {
		delete(w.ignored, uid)
	}
	w.report(nil)
	return again, nil
}

// postponement is until when a mail is left, and how long that is.
type postponement struct {
	until  time.Time
	length time.Duration
}

// postpone leaves a mail for a while that could not be read, as where its file is damaged. Those
// behind it do not wait for it.
func (w *watch) postpone(uid imap.UID, err error) error {
	length := min(max(firstPostponement, 2*w.postponed[uid].length), longestPostponement)
	w.postponed[uid] = postponement{time.Now().Add(length), length}
	var failed *Error
	if errors.As(err, &failed) {
		failed.Err = fmt.Errorf("the mail with UID %d: %w", uid, failed.Err)
	}
	return err
}

// uidsOf lists what was found. A server may name four thousand million mails in a line.
func uidsOf(data *imap.SearchData) (all []imap.UID, err error) {
	set, _ := data.All.(imap.UIDSet)
	n := uint64(0)
	for _, r := range set {
		n += uint64(r.Stop) - uint64(r.Start) + 1
	}
	if n > maxMails {
		return nil, fmt.Errorf("%d mails that nobody has seen are too many: a mailbox for bounces alone has fewer", n)
	}
	return data.AllUIDs(), nil
}

// fetch returns what is to be read of a mail, and when it came. Both are nothing if it is
// gone meanwhile.
func fetch(c *client, uid imap.UID) (mail []byte, at time.Time, err error) {
	err = step(c.conn, "read", func() error {
		part := &imap.FetchItemBodySection{Peek: true, Partial: &imap.SectionPartial{Size: MaxSize}}
		found, err := c.Fetch(imap.UIDSetNum(uid), &imap.FetchOptions{InternalDate: true, BodySection: []*imap.FetchItemBodySection{part}}).Collect()
		for _, one := range found {
			mail, at = one.FindBodySection(part), one.InternalDate
		}
		return err
	})
	return mail, at, err
}

// finish marks, moves or deletes a mail that was taken.
func (w *watch) finish(c *client, uid imap.UID) error {
	return step(c.conn, "read", func() error {
		one, flag := imap.UIDSetNum(uid), imap.FlagSeen
		switch {
		case w.MoveTo != "" && c.Caps().Has(imap.CapMove):
			_, err := c.Move(one, w.MoveTo).Wait()
			return err
		case w.MoveTo != "": // the library's own way deletes what was not copied, and others' mails
			if _, err := c.Copy(one, w.MoveTo).Wait(); err != nil {
				return err
			}
			flag = imap.FlagDeleted
		case w.Delete:
			flag = imap.FlagDeleted
		}
		err := c.Store(one, &imap.StoreFlags{Op: imap.StoreFlagsAdd, Silent: true, Flags: []imap.Flag{flag}}, nil).Close()
		if err == nil && flag == imap.FlagDeleted && c.Caps().Has(imap.CapUIDPlus) { // without it others' mails would go, too
			err = c.UIDExpunge(one).Close()
		}
		return err
	})
}

// wait waits for a new mail, or until it is time to look for one.
func (w *watch) wait(ctx context.Context, c *client, arrived <-chan struct{}, again bool) error {
	pause := w.Poll
	var idle *imapclient.IdleCommand
	if c.Caps().Has(imap.CapIdle) {
		pause = idleTime
		err := step(c.conn, "read", func() (err error) {
			idle, err = c.Idle()
			return err
		})
		if err != nil {
			return err
		}
	}
	if again {
		pause = retryTime
	}
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-arrived:
	case <-timer.C:
	case <-c.Closed():
		return &Error{Stage: "read", Err: io.ErrUnexpectedEOF}
	case <-ctx.Done():
		return ctx.Err()
	}
	if idle == nil {
		return nil
	}
	return step(c.conn, "read", func() error { return errors.Join(idle.Close(), idle.Wait()) })
}
