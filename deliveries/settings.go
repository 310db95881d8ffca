package deliveries

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"logto-email-relay/settings"
)

// Settings are the "deliveries" section.
type Settings struct {
	// Database is the name of a SQLite file or a postgres:// URL; nothing is recorded
	// when empty.
	Database settings.Secret `json:"database" file:"path"`
	// Retention is how long a delivery is kept.
	Retention settings.Duration `json:"retention"`
	// Addresses says how recipients are stored: Plain or Hashed.
	Addresses string `json:"addresses" validate:"oneof=plain hashed"`
	// AddressKey is the key of the hash.
	AddressKey settings.Secret `json:"addressKey"`
	// Suppress says for how long addresses get no mails after events.
	Suppress Suppress `json:"suppress"`
}

// Suppress says for how long an address gets no mails. A time of "0s" turns its reason
// off.
type Suppress struct {
	// HardBounce is the time after a mail that came back for good, or that a service
	// did not send because the address is on its own list.
	HardBounce settings.Duration `json:"hardBounce"`
	// Complaint is the time after a reader called a mail spam.
	Complaint settings.Duration `json:"complaint"`
	// SoftBounces is how many mails in a row have to come back because the mailbox takes
	// none for now, as a full one does, to count as one for good; 0 for never.
	SoftBounces int `json:"softBounces" validate:"gte=0,lte=50"`
}

// How recipients are stored.
const (
	// Plain stores the address.
	Plain = "plain"
	// Hashed stores a keyed hash of the address, and its first character and domain.
	Hashed = "hashed"
)

// InMemory is a database that nobody else sees and that ends with the process, for
// development mode.
const InMemory = ":memory:"

// DefaultSettings record nothing.
func DefaultSettings() Settings {
	return Settings{Retention: settings.Duration(30 * 24 * time.Hour), Addresses: Plain, Suppress: Suppress{
		HardBounce: settings.Duration(24 * time.Hour), Complaint: settings.Duration(30 * 24 * time.Hour), SoftBounces: 5,
	}}
}

// Check wants a database that can be, and a key that cannot be guessed.
func (s *Settings) Check() (problems []settings.Problem) {
	database := s.Database.Reveal()
	if isPostgres(database) {
		if text := parameterProblem(database); text != "" {
			problems = append(problems, settings.Problem{Key: "database", Text: text})
		} else if _, err := parsePostgres(database); err != nil {
			problems = append(problems, settings.Problem{Key: "database",
				Text: `write a URL such as "postgres://relay:${DATABASE_PASSWORD}@db.acme.example/relay", with special characters in its parts percent-encoded, those of the password too`})
		}
	} else if strings.Contains(database, "://") || nameOfSQLite.MatchString(database) || connectionString.MatchString(database) {
		problems = append(problems, settings.Problem{Key: "database",
			Text: `write the name of a file for SQLite, or a URL that begins with postgres://`})
	}
	if time.Duration(s.Retention) < time.Hour {
		problems = append(problems, settings.Problem{Key: "retention", Text: `write a time of at least "1h"`})
	}
	if key := s.AddressKey.Reveal(); s.Addresses == Hashed && len(key) < 16 {
		problems = append(problems, settings.Problem{Key: "addressKey",
			Text: `hashed addresses need a secret of at least 16 characters, such as "${RELAY_ADDRESS_KEY}": whoever has it can try out addresses`})
	}
	return problems
}

// nameOfSQLite is one that SQLite or its drivers take for more than the name of a file:
// https://www.sqlite.org/uri.html
var nameOfSQLite = regexp.MustCompile(`(?i)(^|/)(file|(jdbc:)?sqlite3?):|/:memory:$`)

// connectionString is how libpq, MySQL and ADO write a database where they take no URL, with
// a password that a name of a file would not keep secret.
var connectionString = regexp.MustCompile(`(?i)\b(host|server|user|user id|password|pwd|dbname|database)\s*=|@(tcp|unix)?\(|:[^\s\\/@]*@`)

// errNotPostgres says nothing of the URL, which has a password.
var errNotPostgres = errors.New("the postgres:// URL cannot be read")

// parsePostgres reads a URL. One whose password has an @, a /, a ? or a # that is not encoded may be
// read in another way than its author meant, with the rest of the password in the host's or
// the database's name.
func parsePostgres(name string) (*pgx.ConnConfig, error) {
	c, err := pgx.ParseConfig(name)
	if err != nil {
		return nil, errNotPostgres
	}
	_, rest, _ := strings.Cut(name, "://")
	if i := strings.IndexAny(rest, "/?#"); i > 0 && rest[i] != '/' && strings.Contains(rest[i:], "@") {
		return nil, errNotPostgres // the login goes on behind
	}
	_, query, _ := strings.Cut(rest, "?")
	for parameter := range strings.SplitSeq(query, "&") {
		if key, _, _ := strings.Cut(parameter, "="); strings.Contains(key, "@") {
			return nil, errNotPostgres
		}
	}
	if strings.Contains(strings.Join(addressesOf(c), "")+c.Database, "@") {
		return nil, errNotPostgres
	}
	return c, nil
}

// parameterProblem tells what is wrong with the parameters of a URL, if nothing is with the
// rest. None of them has a password, unless it ends in it: then there is an @ behind.
func parameterProblem(name string) string {
	base, query, _ := strings.Cut(name, "?")
	parameters, err := url.ParseQuery(query)
	if err != nil || strings.Contains(query, "@") {
		return ""
	}
	if _, err := parsePostgres(base); err != nil {
		return ""
	}
	_, err = pgx.ParseConfig(name)
	if err == nil {
		return ""
	}
	text := "the parameters of the URL cannot be used"
	for _, key := range slices.Sorted(maps.Keys(parameters)) {
		others := maps.Clone(parameters)
		delete(others, key)
		if _, err := parsePostgres(base + "?" + others.Encode()); err == nil {
			text = "the parameter " + key + " of the URL cannot be used"
			break
		}
	}
	if cause := errors.Unwrap(err); cause != nil { // err itself has the URL
		text += ": " + cause.Error()
	}
	return text
}

// InPostgres tells whether the record is in a PostgreSQL.
func (s *Settings) InPostgres() bool { return isPostgres(s.Database.Reveal()) }

// InFile tells whether the record is in a file, for SQLite.
func (s *Settings) InFile() bool {
	name := s.Database.Reveal()
	return name != "" && name != InMemory && !isPostgres(name)
}

// CheckFile tells why SQLite could not write its file, which it makes if there is none, and the
// log beside it. It makes nothing.
func (s *Settings) CheckFile() error {
	file := s.Database.Reveal()
	switch info, err := os.Stat(file); {
	case err == nil && !info.Mode().IsRegular():
		return fmt.Errorf("%s is not a regular file", settings.Printable(file, 200))
	case err == nil:
		opened, err := os.OpenFile(file, os.O_RDWR, 0)
		if err != nil {
			return err
		}
		_ = opened.Close()
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	folder := filepath.Dir(file)
	if err := mayWriteInto(folder); err != nil {
		return fmt.Errorf("the folder %s has to be one that the relay may write into: %w", settings.Printable(folder, 200), err)
	}
	return nil
}

func isPostgres(database string) bool {
	return strings.HasPrefix(database, "postgres://") || strings.HasPrefix(database, "postgresql://")
}
