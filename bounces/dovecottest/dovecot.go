// Package dovecottest runs a Dovecot of a test's own, as a server for mailboxes.
package dovecottest

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// The login of the server's one user.
const (
	User     = "bounces@acme.example"
	Password = "never-print-this-password"
	// Token is a password in XOAUTH2.
	Token = "never-print-this-token"
)

// Server is a Dovecot with one user, who has the mailboxes INBOX and Done.
type Server struct {
	// Port speaks TLS from the first byte, StartPort after STARTTLS.
	Port, StartPort int
	// CA is its certificate, in PEM.
	CA []byte

	t     testing.TB
	dir   string
	dove  *exec.Cmd
	log   bytes.Buffer
	count int
}

// Start runs a Dovecot, with more lines in its configuration. Where there is none, the
// test is skipped.
func Start(t testing.TB, more ...string) *Server {
	t.Helper()
	program := "/usr/sbin/dovecot"
	missing := ""
	if version, err := exec.Command(program, "--version").Output(); err != nil {
		missing = "Dovecot is not installed"
	} else if !bytes.HasPrefix(version, []byte("2.3.")) {
		missing = "this is Dovecot " + string(version) + ", whose configuration is another"
	} else if os.Geteuid() != 0 {
		missing = "Dovecot can be started by root alone"
	}
	if missing != "" {
		if os.Getenv("RELAY_TEST_REQUIRE") == "1" {
			t.Fatal(missing)
		}
		t.Skip(missing)
	}
	dir, err := os.MkdirTemp("/tmp", "relay-dovecot") // t.TempDir is too long for Dovecot's sockets
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{t: t, dir: dir}
	s.Port, s.StartPort = freePorts(t)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	s.certify()
	s.write("users", fmt.Sprintf("%s:{PLAIN}%s::::::\n", User, Password))
	s.write("oauth2", fmt.Sprintf("tokeninfo_url = %s/?token=\nintrospection_mode = auth\nusername_attribute = email\n", tokens(t)))
	s.write("dovecot.conf", fmt.Sprintf(`base_dir = %[1]s/run
state_dir = %[1]s/state
log_path = /dev/stderr
protocols = imap
listen = 127.0.0.1
ssl = yes
ssl_cert = <%[1]s/cert.pem
ssl_key = <%[1]s/key.pem
auth_mechanisms = plain xoauth2
auth_failure_delay = 0
auth_verbose = yes
mail_location = maildir:%[1]s/mail
mail_uid = mail
mail_gid = mail
first_valid_uid = 1
maildir_very_dirty_syncs = no
passdb {
  driver = passwd-file
  mechanisms = plain
  args = %[1]s/users
}
passdb {
  driver = oauth2
  mechanisms = xoauth2
  args = %[1]s/oauth2
}
userdb {
  driver = static
  args = uid=mail gid=mail home=%[1]s/mail
}
namespace inbox {
  inbox = yes
  mailbox Done {
    auto = create
  }
}
service imap-login {
  inet_listener imap {
    port = %[3]d
  }
  inet_listener imaps {
    port = %[2]d
    ssl = yes
  }
}
service stats {
  chroot =
}
service anvil {
  chroot =
}
`, dir, s.Port, s.StartPort)+strings.Join(more, "\n")+"\n")
	s.folder(".")
	s.Begin()
	t.Cleanup(func() {
		s.Stop()
		if t.Failed() {
			t.Logf("Dovecot says:\n%s", s.log.String())
		}
	})
	return s
}

// tokens is a service that Dovecot asks whose a token is.
func tokens(t testing.TB) (url string) {
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if r.FormValue("token") != Token {
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = io.WriteString(w, `{"error":"invalid_token"}`)
			return
		}
		_, _ = fmt.Fprintf(w, `{"email":%q}`, User)
	}))
	t.Cleanup(service.Close)
	return service.URL
}

// Begin starts the program, at first and after Stop.
func (s *Server) Begin() {
	s.t.Helper()
	s.dove = exec.Command("/usr/sbin/dovecot", "-F", "-c", filepath.Join(s.dir, "dovecot.conf"))
	s.dove.Stderr = &s.log
	if err := s.dove.Start(); err != nil {
		s.t.Fatal(err)
	}
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		conn, err := tls.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", s.Port), &tls.Config{InsecureSkipVerify: true})
		if err == nil {
			_ = conn.Close()
			return
		}
		if time.Now().After(end) {
			s.Stop()
			s.t.Fatalf("Dovecot does not listen: %v\n%s", err, s.log.String())
		}
	}
}

// Stop ends the program and its connections.
func (s *Server) Stop() {
	if s.dove == nil {
		return
	}
	_ = s.dove.Process.Signal(os.Interrupt)
	_ = s.dove.Wait()
	s.dove = nil
}

var deliver sync.Mutex

// Deliver puts a mail into INBOX, as a mail server does.
func (s *Server) Deliver(mail []byte) {
	s.t.Helper()
	deliver.Lock()
	defer deliver.Unlock()
	s.count++
	name := fmt.Sprintf("%d.%d.test", time.Now().UnixNano(), s.count)
	for _, folder := range []string{"tmp", "new", "cur"} {
		s.folder(folder)
	}
	at := filepath.Join(s.dir, "mail/tmp", name)
	if err := os.WriteFile(at, mail, 0o666); err != nil {
		s.t.Fatal(err)
	}
	s.giveToMail(at)
	if err := os.Rename(at, filepath.Join(s.dir, "mail/new", name)); err != nil {
		s.t.Fatal(err)
	}
}

// Count tells how many mails of INBOX are unseen and seen, and how many are in Done. Those
// that are marked as deleted do not count.
func (s *Server) Count() (unseen, seen, done int) {
	s.t.Helper()
	for _, folder := range []string{"new", "cur", ".Done/new", ".Done/cur"} {
		files, _ := os.ReadDir(filepath.Join(s.dir, "mail", folder))
		for _, file := range files {
			_, flags, _ := strings.Cut(file.Name(), ":2,")
			switch {
			case strings.HasPrefix(folder, ".Done"):
				done++
			case strings.Contains(flags, "T"): // deleted, but for the space it takes
			case strings.Contains(flags, "S"):
				seen++
			default:
				unseen++
			}
		}
	}
	return unseen, seen, done
}

// Owner is who a program has to be that writes mails into the folder, which is a Maildir.
func (s *Server) Owner() (id int, folder string) {
	s.t.Helper()
	id, _ = s.mail()
	return id, filepath.Join(s.dir, "mail")
}

func (s *Server) write(name, text string) {
	s.t.Helper()
	if err := os.WriteFile(filepath.Join(s.dir, name), []byte(text), 0o644); err != nil {
		s.t.Fatal(err)
	}
}

// folder makes a folder of the user's mails, if it is not there.
func (s *Server) folder(name string) {
	s.t.Helper()
	path := filepath.Join(s.dir, "mail", name)
	if err := os.MkdirAll(path, 0o755); err != nil {
		s.t.Fatal(err)
	}
	s.giveToMail(path)
}

// mail returns the system's user for mails, as whom Dovecot reads them.
func (s *Server) mail() (uid, gid int) {
	s.t.Helper()
	owner, err := user.Lookup("mail")
	if err != nil {
		s.t.Fatal(err)
	}
	uid, _ = strconv.Atoi(owner.Uid)
	gid, _ = strconv.Atoi(owner.Gid)
	return uid, gid
}

// giveToMail makes a file that user's.
func (s *Server) giveToMail(path string) {
	s.t.Helper()
	uid, gid := s.mail()
	if err := os.Chown(path, uid, gid); err != nil {
		s.t.Fatal(err)
	}
}

// certify makes a certificate for 127.0.0.1 and localhost.
func (s *Server) certify() {
	s.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		s.t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Dovecot of a test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		s.t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		s.t.Fatal(err)
	}
	s.CA = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate})
	s.write("cert.pem", string(s.CA))
	s.write("key.pem", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})))
}

// freePorts returns two ports that nobody listens on.
func freePorts(t testing.TB) (one, other int) {
	t.Helper()
	var ports [2]int
	for i := range ports {
		free, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = free.Close() }() // after the other is chosen
		ports[i] = free.Addr().(*net.TCPAddr).Port
	}
	return ports[0], ports[1]
}
