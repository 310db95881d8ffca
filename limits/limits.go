// Package limits is the room for counters against abuse: how many mails a
// recipient, and how many webhooks a client address, may cause. This version
// has its settings only, and refuses any that ask for more.
package limits

// Settings are the "limits" section. An empty text turns a limit off.
type Settings struct {
	// Recipient is how many mails one address gets in a time: "10/10m".
	Recipient string `json:"recipient" validate:"omitempty,rate" future:"limits"`
	// IP is how many mails one client address causes in a time: "60/10m".
	IP string `json:"ip" validate:"omitempty,rate" future:"limits"`
	// Redis is the URL of a Redis that replicas share their counters in.
	Redis string `json:"redis" validate:"omitempty,url" future:"limits"`
}
