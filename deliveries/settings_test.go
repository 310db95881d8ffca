package deliveries

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"logto-email-relay/settings"
)

func TestSettingsThatCannotWork(t *testing.T) {
	for _, c := range []struct {
		change    func(*Settings)
		key, says string
	}{
		{func(s *Settings) { s.Database = settings.NewSecret("postgres://relay:never-print-this@db:x/relay") }, "database", "percent-encoded"},
		{func(s *Settings) { s.Database = settings.NewSecret("mysql://relay:never-print-this@db/relay") }, "database", "postgres://"},
		{func(s *Settings) { s.Database = settings.NewSecret("postgres://relay:p@never-print-this@db/relay") }, "database", "percent-encoded"},
		{func(s *Settings) { s.Database = settings.NewSecret("postgres://relay:12/never-print-this@db/relay") }, "database", "percent-encoded"},
		{func(s *Settings) { s.Database = settings.NewSecret("postgres://relay:p?never-print-this@db/relay") }, "database", "percent-encoded"},
		{func(s *Settings) { s.Database = settings.NewSecret("postgres://relay:p@x?never-print-this@db/relay") }, "database", "percent-encoded"},
		{func(s *Settings) { s.Database = settings.NewSecret("postgres://relay:p@x/y?never-print-this@db/relay") }, "database", "percent-encoded"},
		{func(s *Settings) { s.Database = settings.NewSecret("postgres://relay:12#never-print-this@db/relay") }, "database", "percent-encoded"},
		{func(s *Settings) {
			s.Database = settings.NewSecret("postgres://relay:a@db1,never-print-this@db2/relay")
		}, "database", "percent-encoded"},
		{func(s *Settings) {
			s.Database = settings.NewSecret("host=db user=relay password=never-print-this dbname=relay")
		}, "database", "postgres://"},
		{func(s *Settings) { s.Database = settings.NewSecret("Server=db;User Id=relay;Pwd=never-print-this") }, "database", "postgres://"},
		{func(s *Settings) { s.Database = settings.NewSecret("relay:never-print-this@tcp(db:3306)/relay") }, "database", "postgres://"},
		{func(s *Settings) {
			s.Database = settings.NewSecret("postgres://relay:never-print-this@db/relay?sslmode=verify-full&sslrootcert=/no/such/bundle.pem")
		}, "database", "parameter sslrootcert of the URL cannot be used: unable to read CA file: open /no/such/bundle.pem: no such file"},
		{func(s *Settings) {
			s.Database = settings.NewSecret("postgres://relay:never-print-this@db/relay?sslcert=/no/such.crt&sslkey=/no/such.key&password=never-print-this")
		}, "database", "parameters of the URL cannot be used: unable to read sslkey"},
		{func(s *Settings) {
			s.Database = settings.NewSecret("postgres://relay:never-print-this@db:5432,db2:5432/relay?sslmode=verify_full&connect_timeout=5")
		}, "database", "parameter sslmode of"},
		{func(s *Settings) {
			s.Database = settings.NewSecret("postgres://relay:never-print-this@db/relay?connect_timeout=5s")
		}, "database", "parameter connect_timeout of"},
		{func(s *Settings) {
			s.Database = settings.NewSecret("postgres://relay:never-print-this@db/relay?target_session_attrs=readwrite")
		}, "database", "parameter target_session_attrs of"},
		{func(s *Settings) {
			s.Database = settings.NewSecret("postgres://relay@db/relay?connect_timeout=5s&password=p@never-print-this")
		}, "database", "percent-encoded"},
		{func(s *Settings) { s.Database = settings.NewSecret("relay:never-print-this@db:5432/relay") }, "database", "postgres://"},
		{func(s *Settings) { s.Database = settings.NewSecret("//relay:never-print-this@db/relay") }, "database", "postgres://"},
		{func(s *Settings) { s.Database = settings.NewSecret("postgres:/relay:never-print-this@db/relay") }, "database", "postgres://"},
		{func(s *Settings) { s.Database = settings.NewSecret("/etc/relay/:memory:") }, "database", "name of a file"},
		{func(s *Settings) { s.Database = settings.NewSecret("/etc/relay/file:x.db?mode=ro") }, "database", "name of a file"},
		{func(s *Settings) { s.Database = settings.NewSecret("/etc/relay/jdbc:SQLite:x.db") }, "database", "name of a file"},
		{func(s *Settings) { s.Retention = 0 }, "retention", "1h"},
		{func(s *Settings) { s.Addresses, s.AddressKey = Hashed, settings.NewSecret("never-print") }, "addressKey", "16 characters"},
	} {
		s := DefaultSettings()
		c.change(&s)
		problems := s.Check()
		if len(problems) != 1 || problems[0].Key != c.key || !strings.Contains(problems[0].Text, c.says) {
			t.Errorf("%+v, want %s: …%s…", problems, c.key, c.says)
		}
		if all := fmt.Sprintf("%+v %#v %+v", problems, s, s); strings.Contains(all, "never-print") {
			t.Errorf("a secret is printed: %s", all)
		}
	}
	fine := DefaultSettings()
	fine.Retention, fine.Addresses, fine.AddressKey = settings.Duration(time.Hour), Hashed, settings.NewSecret("sixteen of them.")
	for _, database := range []string{"", "deliveries.db", "/var/lib/relay/deliveries.db", `C:\relay\deliveries.db`, "postgres://srv.acme.example:5432/relay?user=relay@srv&sslmode=require", "/data/relay@eu (2)/user.db", `C:\data\relay@eu.db`, "postgres://re%40lay:a@%2Fvar%2Frun/relay", "postgres://relay@db/relay", "postgresql://a:b%40c@[::1]:5432,db2/relay?sslmode=require"} {
		fine.Database = settings.NewSecret(database)
		if problems := fine.Check(); len(problems) > 0 {
			t.Errorf("%s: %+v", database, problems)
		}
	}
}
