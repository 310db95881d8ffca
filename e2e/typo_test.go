package e2e_test

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// Whoever types gmial.con at the sign-in page reads there what was meant, as Logto's
// connector and Logto's own words show it, and no mail is sent. Logto's page itself is
// not published, so that nobody types here.
func TestAMistypedAddressIsToldAtTheSignInPage(t *testing.T) {
	if _, err := os.Stat("connector/node_modules/@logto/phrases"); err != nil {
		unavailable(t, "Logto's phrases are not installed: run npm ci in e2e/connector")
	}
	server := startSink(t)
	relay := startRelayAsking(t, startNameServer(t, "gmail.com"), fmt.Sprintf(`[{"type": "smtp", "host": "127.0.0.1", "port": %d, "ignoreTLS": true}]`, server.port()))
	for language, want := range map[string]string{
		"en": `^Error occurred in connector: \{"message":"This address can't receive email\. Did you mean gmail\.com\? \(ref [0-9a-z]{8}\)"\}$`,
		"fr": `^Une erreur s'est produite dans le connecteur : \{"message":".*gmail\.com.* \(ref [0-9a-z]{8}\)"\}$`,
		"ja": `^.+\{"message":".*gmail\.com.* \(ref [0-9a-z]{8}\)"\}$`,
	} {
		shown := strings.TrimSpace(string(runNode(t, "signin.mjs", map[string]any{
			"config": map[string]string{"endpoint": relay.webhook(), "authorization": authorization}, "language": language,
			"message": json.RawMessage(fmt.Sprintf(`{"to":"ada@gmial.con","type":"SignIn","payload":{"code":"482913","locale":%q},"ip":"203.0.113.7"}`, language)),
		})))
		t.Log(shown)
		if !regexp.MustCompile(want).MatchString(shown) || strings.Contains(shown, "482913") {
			t.Errorf("%s: %s", language, shown)
		}
	}
	right := runNode(t, "signin.mjs", map[string]any{
		"config": map[string]string{"endpoint": relay.webhook(), "authorization": authorization}, "language": "en",
		"message": json.RawMessage(`{"to":"ada@gmail.com","type":"SignIn","payload":{"code":"482913","locale":"en"}}`),
	})
	if mails := server.take(); len(mails) != 1 || len(right) != 0 {
		t.Errorf("%d mails arrived, and the right address is told %s", len(mails), right)
	}
}

// startNameServer answers on port 53 of an address of its own: these domains have a
// mail server, and nothing else exists.
func startNameServer(t testing.TB, domains ...string) (address string) {
	t.Helper()
	address = fmt.Sprintf("127.53.%d.%d", os.Getpid()>>8&0xff, os.Getpid()&0xff)
	conn, err := net.ListenPacket("udp", net.JoinHostPort(address, "53"))
	if err != nil {
		unavailable(t, "port 53 cannot be had: "+err.Error())
	}
	server := &dns.Server{PacketConn: conn, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, question *dns.Msg) {
		r := new(dns.Msg).SetReply(question)
		r.Rcode = dns.RcodeNameError
		for _, domain := range domains {
			if asked := question.Question[0]; asked.Name == domain+"." {
				r.Rcode = dns.RcodeSuccess
				if asked.Qtype == dns.TypeMX {
					r.Answer = []dns.RR{&dns.MX{Hdr: dns.RR_Header{Name: asked.Name, Rrtype: dns.TypeMX, Class: dns.ClassINET, Ttl: 60}, Preference: 5, Mx: "mx." + asked.Name}}
				}
			}
		}
		_ = w.WriteMsg(r)
	})}
	go func() { _ = server.ActivateAndServe() }()
	t.Cleanup(func() { _ = server.Shutdown() })
	return address
}

// startRelayAsking starts a relay with recipients.checkDomain that asks this name
// server: another resolv.conf is laid over that of the machine, for the relay alone.
func startRelayAsking(t testing.TB, nameServer, providers string) *relayProcess {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	resolv := filepath.Join(t.TempDir(), "resolv.conf")
	if err := os.WriteFile(resolv, []byte("nameserver "+nameServer+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	lay := []string{need(t, "unshare"), "--mount", "sh", "-c", `mount --bind "$0" /etc/resolv.conf && exec "$@"`, resolv}
	if err := exec.CommandContext(t.Context(), lay[0], append(lay[1:], "true")...).Run(); err != nil {
		unavailable(t, "another /etc/resolv.conf cannot be laid over that of the machine: "+err.Error())
	}
	r, file := configure(t, providers, `"recipients": {"checkDomain": true}`)
	r.process = start(t, exec.Command(lay[0], append(lay[1:], path, "--config", file)...))
	r.waitReady(t)
	return r
}
