// Package deliveries is the record: what was sent to whom, through which provider,
// and what became of it.
//
// # What is kept
//
// One row for each mail holds what mail.Delivery holds, and so no code, link,
// subject or body. Operators who want no addresses in it have a keyed hash stored
// in their place (Settings.Addresses); who knows an address finds its mails all
// the same. Rows leave when they are older than the retention.
//
// # A record that never stops a mail
//
// Begin hands over a row "sending" and does not wait: should the process be killed,
// it tells of the mail, and is turned into "uncertain" once it is too old to be
// under way. Finish hands over the verdict and waits until it is committed, so that
// every 200 has its row. All rows that wait share a transaction (writer.go).
//
// Finish waits for 100 ms at most. Whoever waited in vain leaves the row in memory,
// and nobody waits any more until a commit has been quick again. The memory is
// bounded, and what it has no room for is counted.
//
// # Events and suppressions
//
// Apply adds what services report later to the rows of their mails (events.go). An
// event is known by its key, so that it may come again, and in any order: the
// strongest status stays. Events of mails that came back keep the next ones from
// their address for a while (suppressions.go). Suppressed is asked before each mail,
// and says no when the database does not answer quickly.
//
// # Notifications
//
// Who wants to be told of a status gets a row of its own, in the transaction that
// makes it true (notifications.go). Whoever sends them claims them for a while, so
// that of several relays each sends others, and those of one that died come again.
//
// # Two databases
//
// SQLite is for one process, PostgreSQL for several. They get the same statements,
// and one suite of tests holds for both. Only the connection and the migrations
// are a database's own (database.go).
package deliveries
