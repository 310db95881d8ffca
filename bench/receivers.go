package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The receivers, by the names that they have in the tables.
const (
	theRelay   = "relay"
	theExpress = "express"
	theLogto   = "logto"
	theFloor   = "floor"
)

// receiver is a program that turns webhooks into mails.
type receiver struct {
	name    string
	command func(place, setup) (*exec.Cmd, error)
}

// setup is what a receiver is started with.
type setup struct {
	sink    *sinkProcess
	options sinkOptions
	// concurrency is how many webhooks come at a time at most.
	concurrency int
	// template is the size of an HTML template in bytes. With 0 the relay sends
	// the mail that is built into it, and the others one of 6 KB.
	template int
	// record is the database of the relay's record; empty for none.
	record string
	// limited has the relay count mails against all limits.
	limited bool
}

// place is a directory of a receiver's own and the address it is to listen on.
type place struct {
	dir     string
	address string
}

// usualTemplate makes a mail of about 6 KB.
const usualTemplate = 5800

// programs are the receivers that could be made ready.
type programs struct {
	dir       string // for what is built
	receivers []receiver
	// profiler is where the relay's profiler listens, empty for none.
	profiler string
}

// prepare builds the receivers in Go and installs those in Node.js. One whose
// programs are missing is left out, and said so; the relay never is.
func prepare(say func(string, ...any), wanted []string, profile bool) (*programs, error) {
	dir, err := os.MkdirTemp("", "relay-bench-")
	if err != nil {
		return nil, err
	}
	p := &programs{dir: dir}
	sources := map[string]string{theRelay: "logto-email-relay", theFloor: "logto-email-relay/bench/peers/floor"}
	if profile {
		sources[theRelay] = "logto-email-relay/bench/profiled"
		if p.profiler, err = freeAddress(); err != nil {
			return nil, err
		}
	}
	for name, pkg := range sources {
		say("building %s", name)
		build := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", filepath.Join(dir, name), pkg)
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("go build %s: %w\n%s", pkg, err, out)
		}
	}
	p.receivers = []receiver{{theRelay, p.relay}}
	if slices.Contains(wanted, theFloor) {
		p.receivers = append(p.receivers, receiver{theFloor, func(at place, s setup) (*exec.Cmd, error) {
			program, err := p.copy(theFloor, at)
			if err != nil {
				return nil, err
			}
			return peer(at, s, exec.Command(program))
		}})
	}
	peers, err := peersDir()
	if err != nil {
		return nil, err
	}
	for _, name := range []string{theExpress, theLogto} {
		if !slices.Contains(wanted, name) {
			continue
		}
		home := filepath.Join(peers, name)
		if err := install(home); err != nil {
			say("without %s: %v", name, err)
			continue
		}
		p.receivers = append(p.receivers, receiver{name, func(at place, s setup) (*exec.Cmd, error) {
			cmd := exec.Command("node", "server.mjs")
			cmd.Dir = home
			return peer(at, s, cmd)
		}})
	}
	return p, nil
}

// peersDir finds the peers' sources through the module, whatever the working
// directory.
func peersDir() (string, error) {
	out, err := exec.Command("go", "list", "-f", "{{.Dir}}", "logto-email-relay/bench").Output()
	if err != nil {
		return "", fmt.Errorf("go list: %w", err)
	}
	return filepath.Join(strings.TrimSpace(string(out)), "peers"), nil
}

// install fetches the packages of a program in Node.js, once.
func install(dir string) error {
	if _, err := exec.LookPath("node"); err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(dir, "node_modules")); err == nil {
		return nil
	}
	cmd := exec.Command("npm", "ci", "--no-audit", "--no-fund", "--loglevel=error")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("npm ci: %w %s", err, out)
	}
	return nil
}

// copy copies a program for one start of it. Where its pages happen to lie in the
// machine's memory makes it faster or slower by up to a tenth, and they would lie
// there for all rounds. They are written one by one, as the linker does: what is
// written in large pieces is mapped in large pieces too, and all of that counts
// as the program's memory, used or not.
func (p *programs) copy(name string, at place) (string, error) {
	program, err := os.ReadFile(filepath.Join(p.dir, name))
	if err != nil {
		return "", err
	}
	copied, err := os.OpenFile(filepath.Join(at.dir, name), os.O_CREATE|os.O_WRONLY, 0o700)
	if err != nil {
		return "", err
	}
	for page := range slices.Chunk(program, 4096) {
		if _, err := copied.Write(page); err != nil {
			return "", errors.Join(err, copied.Close())
		}
	}
	return copied.Name(), copied.Close()
}

// relay is the real binary with a real configuration: limits off, unless they
// are what is measured, everything logged to a file.
func (p *programs) relay(at place, s setup) (*exec.Cmd, error) {
	admin, err := freeAddress()
	if err != nil {
		return nil, err
	}
	provider := map[string]any{
		"name": "sink", "type": "smtp", "host": "127.0.0.1", "port": s.sink.Port,
		"maxConcurrent": s.concurrency, "ignoreTLS": !s.options.TLS,
	}
	if s.options.TLS {
		provider["requireTLS"] = true
		provider["tls"] = map[string]any{"ca": s.sink.Authority}
		provider["auth"] = map[string]any{"user": smtpUser, "pass": smtpPassword}
	}
	settings := map[string]any{
		"server":    map[string]any{"address": at.address, "authorization": []string{authorization}},
		"admin":     map[string]any{"address": admin},
		"sender":    map[string]any{"from": "Acme <no-reply@acme.example>", "replyTo": "help@acme.example"},
		"branding":  map[string]any{"senderName": "Acme", "companyInformation": "Acme Inc., 1 Main Street"},
		"providers": []any{provider},
		"limits":    map[string]any{"recipient": "", "ip": ""},
	}
	if s.template > 0 {
		templates := filepath.Join(at.dir, "templates")
		if err := os.MkdirAll(filepath.Join(templates, "en"), 0o700); err != nil {
			return nil, err
		}
		file := filepath.Join(templates, "en", "SignIn.html")
		if err := os.WriteFile(file, []byte(template(s.template)), 0o600); err != nil {
			return nil, err
		}
		settings["templates"] = map[string]any{"dir": templates}
	}
	if s.limited {
		const plenty = "1000000000/1h"
		settings["limits"] = map[string]any{"recipient": plenty, "ip": plenty, "domain": plenty, "total": plenty}
	}
	if s.record != "" {
		settings["deliveries"] = map[string]any{"database": s.record}
	}
	text, err := json.Marshal(settings)
	if err != nil {
		return nil, err
	}
	file := filepath.Join(at.dir, "config.json")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		return nil, err
	}
	program, err := p.copy(theRelay, at)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(program, "--config", file)
	cmd.Env = []string{"PROFILER=" + p.profiler}
	log, err := os.Create(filepath.Join(at.dir, "relay.log"))
	cmd.Stdout = log
	return cmd, err
}

// peer gives a peer what it needs by its environment.
func peer(at place, s setup, cmd *exec.Cmd) (*exec.Cmd, error) {
	size := s.template
	if size == 0 {
		size = usualTemplate
	}
	file := filepath.Join(at.dir, "template.html")
	if err := os.WriteFile(file, []byte(template(size)), 0o600); err != nil {
		return nil, err
	}
	_, port, err := net.SplitHostPort(at.address)
	if err != nil {
		return nil, err
	}
	cmd.Env = append(os.Environ(), "NODE_ENV=production", "PORT="+port, "AUTHORIZATION="+authorization,
		"CONCURRENCY="+strconv.Itoa(s.concurrency), "SMTP_PORT="+strconv.Itoa(s.sink.Port), "TEMPLATE="+file)
	if !s.options.TLS {
		return cmd, nil
	}
	authority := filepath.Join(at.dir, "authority.pem")
	if err := os.WriteFile(authority, []byte(s.sink.Authority), 0o600); err != nil {
		return nil, err
	}
	cmd.Env = append(cmd.Env, "SMTP_CA="+authority, "SMTP_USER="+smtpUser, "SMTP_PASS="+smtpPassword)
	return cmd, nil
}

// template is an HTML template of about the given size, with tables and inline
// styles as mails have them.
func template(size int) string {
	const head = `<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{{code}} is your code for {{application.name}}</title></head>
<body style="margin:0;background-color:#f4f4f5">
<table role="presentation" width="100%" cellpadding="0" cellspacing="0" border="0">
<tr><td style="padding:24px;font-family:Arial,sans-serif;font-size:32px;line-height:40px">{{code}}</td></tr>
`
	const row = `<tr><td style="padding:0 24px 16px 24px;font-family:Arial,sans-serif;font-size:16px;line-height:24px;color:#18181b">` +
		"Use this code to sign in to {{application.name}}. It is valid for 10 minutes, and nobody will ever ask you for it.</td></tr>\n"
	const foot = "</table></body></html>\n"
	var b strings.Builder
	b.WriteString(head)
	for b.Len()+len(row)+len(foot) <= size {
		b.WriteString(row)
	}
	b.WriteString(foot)
	return b.String()
}

// running is a receiver at work.
type running struct {
	*child
	place
	// ready is how long it took from its start to its first answer.
	ready time.Duration
}

const patience = 20 * time.Second

// run starts a receiver and waits until it answers.
func (r receiver) run(s setup) (*running, error) {
	dir, err := os.MkdirTemp("", "relay-bench-run-")
	if err != nil {
		return nil, err
	}
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	at := place{dir, address}
	cmd, err := r.command(at, s)
	if err != nil {
		return nil, err
	}
	c := newChild(r.name, cmd)
	start := time.Now()
	if err := c.start(); err != nil {
		return nil, err
	}
	if log, ok := cmd.Stdout.(*os.File); ok {
		_ = log.Close() // the receiver has its own handle
	}
	running := &running{child: c, place: at}
	for {
		if status, err := ask(address, "/healthz"); err == nil && status == http.StatusOK {
			running.ready = time.Since(start)
			return running, nil
		}
		if err := c.died(); err != nil {
			return nil, err
		}
		if time.Since(start) > patience {
			running.stop()
			return nil, fmt.Errorf("%s does not answer", r.name)
		}
		time.Sleep(time.Millisecond)
	}
}

// stop ends the receiver and removes what it wrote.
func (r *running) stop() {
	r.kill()
	_ = os.RemoveAll(r.dir)
}

// freeAddress returns an address of the loopback interface that nobody listens on.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}
