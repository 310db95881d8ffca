package config_test

import (
	"fmt"

	"logto-email-relay/config"
)

func ExampleParse() {
	text := `{
  "server": {"authorization": ["Bearer ${RELAY_TOKEN}"]},
  "sender": {"from": "no-reply@acme.example"},
  "providers": [{"type": "smtp", "host": "smtp.example.com", "prot": 465}]
}`
	lookup := func(name string) (string, bool) { return "a-long-random-token", name == "RELAY_TOKEN" }
	_, err := config.Parse("config.json", []byte(text), lookup)
	fmt.Println(err)
	// Output:
	// config.json:4:62: providers[0].prot: unknown key, did you mean "port"?
	//     "providers": [{"type": "smtp", "host": "smtp.example.com", "prot": …}]
	//                                                                ^
	// 1 problem
}

// A reload keeps the providers whose settings are the same as before.
func ExampleSameProvider() {
	parse := func(password string) *config.Config {
		text := `{"server": {"authorization": ["Bearer 0123456789abcdef"]}, "sender": {"from": "no-reply@acme.example"}, "providers": [
			{"name": "a", "type": "smtp", "host": "a.example", "auth": {"user": "relay", "pass": "${PASSWORD}"}},
			{"name": "b", "type": "smtp", "host": "b.example"}]}`
		loaded, err := config.Parse("config.json", []byte(text), func(string) (string, bool) { return password, true })
		if err != nil {
			panic(err)
		}
		return loaded.Config
	}
	before, after := parse("old"), parse("new")
	for i, provider := range after.Providers {
		fmt.Println(provider.Shared().Name, config.SameProvider(before.Providers[i], provider))
	}
	// Output:
	// a false
	// b true
}
