// Package deliveries is the room for the record of what was sent and what
// became of it. This version has its settings only, and refuses any that ask
// for more.
package deliveries

import (
	"time"

	"logto-email-relay/settings"
)

// Settings are the "deliveries" section.
type Settings struct {
	// Database is a SQLite file or a postgres:// URL; nothing is stored when
	// empty.
	Database string `json:"database" future:"the record of deliveries"`
	// Retention is how long a record is kept.
	Retention settings.Duration `json:"retention"`
}

// DefaultSettings store nothing.
func DefaultSettings() Settings { return Settings{Retention: settings.Duration(30 * 24 * time.Hour)} }
