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
		{func(s *Settings) {
			s.Database = settings.NewSecret("postgres://relay:a@db1,never-print-this@db2/relay")
		}, "database", "percent-encoded"},
		{func(s *Settings) {
			s.Database = settings.NewSecret("host=db user=relay password=never-print-this dbname=relay")
		}, "database", "postgres://"},
		{func(s *Settings) { s.Database = settings.NewSecret("Server=db;User Id=relay;Pwd=never-print-this") }, "database", "postgres://"},
		{func(s *Settings) { s.Database = settings.NewSecret("relay:never-print-this@tcp(db:3306)/relay") }, "database", "postgres://"},
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
	for _, database := range []string{"", "deliveries.db", "/var/lib/relay/deliveries.db", `C:\relay\deliveries.db`, "/data/relay@eu (2)/user.db", "postgres://re%40lay:a@%2Fvar%2Frun/relay", "postgres://relay@db/relay", "postgresql://a:b%40c@[::1]:5432,db2/relay?sslmode=require"} {
		fine.Database = settings.NewSecret(database)
		if problems := fine.Check(); len(problems) > 0 {
			t.Errorf("%s: %+v", database, problems)
		}
	}
}
