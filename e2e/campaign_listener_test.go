package e2e_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// Times of the fault servers.
const (
	// longestStall ends what the relay should have ended long ago.
	longestStall = 30 * time.Second
	// dawdling is how long a slow answer takes.
	dawdling = 200 * time.Millisecond
	// dripping is the pause between two bytes.
	dripping = 2 * time.Millisecond
)

// faultListener takes connections until the end of the test, and then cuts those
// that are left.
type faultListener struct {
	listener *net.TCPListener
	serving  sync.WaitGroup
	mu       sync.Mutex
	open     map[*net.TCPConn]bool
	closed   bool
}

func (l *faultListener) start(t testing.TB, serve func(*net.TCPConn)) {
	t.Helper()
	listener, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	l.listener, l.open = listener, make(map[*net.TCPConn]bool)
	l.serving.Go(func() {
		for {
			conn, err := listener.AcceptTCP()
			if err != nil || !l.track(conn) {
				return
			}
			l.serving.Go(func() {
				defer l.forget(conn)
				serve(conn)
			})
		}
	})
	t.Cleanup(l.close)
}

func (l *faultListener) port() int { return l.listener.Addr().(*net.TCPAddr).Port }

func (l *faultListener) track(conn *net.TCPConn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		_ = conn.Close()
		return false
	}
	l.open[conn] = true
	return true
}

func (l *faultListener) forget(conn *net.TCPConn) {
	_ = conn.Close()
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.open, conn)
}

func (l *faultListener) close() {
	_ = l.listener.Close()
	l.mu.Lock()
	l.closed = true
	for conn := range l.open {
		_ = conn.Close()
	}
	l.mu.Unlock()
	l.serving.Wait()
}

// errDone ends a connection whose fault has happened.
var errDone = errors.New("the fault has happened")

// misbehave does what ends a conversation in any protocol. endless is what a
// reply without end repeats.
func misbehave(how manner, raw *net.TCPConn, conn net.Conn, endless string) error {
	switch how {
	case resets:
		return reset(raw)
	case stalls:
		_ = conn.SetDeadline(time.Now().Add(longestStall))
		_, _ = io.Copy(io.Discard, conn)
	case babbles:
		_, _ = io.WriteString(conn, "lorem ipsum \x00\xff dolor\r\nsit amet\r\n")
	case floods:
		_ = conn.SetDeadline(time.Now().Add(longestStall))
		for {
			if _, err := io.WriteString(conn, endless); err != nil {
				break
			}
			time.Sleep(time.Millisecond)
		}
	}
	return errDone
}

// reset closes a connection with RST instead of FIN.
func reset(raw *net.TCPConn) error {
	_ = raw.SetLinger(0)
	_ = raw.Close()
	return errDone
}

func drip(w io.Writer, text string) error {
	for _, b := range []byte(text) {
		time.Sleep(dripping)
		if _, err := w.Write([]byte{b}); err != nil {
			return err
		}
	}
	return nil
}

// certificates are signed by an authority of our own.
type certificates struct {
	authority string // PEM
	right     tls.Certificate
	wrong     tls.Certificate // of another host
}

func newCertificates(t testing.TB) *certificates {
	t.Helper()
	must := func(err error) {
		if err != nil {
			t.Helper()
			t.Fatal(err)
		}
	}
	issue := func(serial int64, template, parent *x509.Certificate, signer *ecdsa.PrivateKey) ([]byte, *ecdsa.PrivateKey) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		must(err)
		if signer == nil {
			signer = key
		}
		template.SerialNumber = big.NewInt(serial)
		template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(24*time.Hour)
		der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
		must(err)
		return der, key
	}
	authority := &x509.Certificate{
		Subject: pkix.Name{CommonName: "Authority of the test"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign,
	}
	authorityDER, authorityKey := issue(1, authority, authority, nil)
	var text strings.Builder
	must(pem.Encode(&text, &pem.Block{Type: "CERTIFICATE", Bytes: authorityDER}))
	right, rightKey := issue(2, &x509.Certificate{IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}, authority, authorityKey)
	wrong, wrongKey := issue(3, &x509.Certificate{DNSNames: []string{"other.example"}}, authority, authorityKey)
	return &certificates{
		authority: text.String(),
		right:     tls.Certificate{Certificate: [][]byte{right}, PrivateKey: rightKey},
		wrong:     tls.Certificate{Certificate: [][]byte{wrong}, PrivateKey: wrongKey},
	}
}
