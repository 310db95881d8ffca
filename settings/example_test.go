package settings_test

import (
	"fmt"
	"time"

	"logto-email-relay/settings"
)

// A secret does not print, wherever it is.
func ExampleSecret() {
	type login struct {
		User string
		Pass settings.Secret
	}
	l := login{"relay", settings.NewSecret("pa55word")}
	fmt.Printf("%+v, %d characters\n", l, len(l.Pass.Reveal()))
	// Output: {User:relay Pass:[secret]}, 8 characters
}

func ExampleDuration() {
	var d settings.Duration
	for _, written := range []string{"8s", "30d", "8 seconds"} {
		if err := d.UnmarshalText([]byte(written)); err != nil {
			fmt.Println(err)
			continue
		}
		fmt.Println(time.Duration(d))
	}
	// Output:
	// 8s
	// 720h0m0s
	// write a duration such as "8s", "10m" or "30d"
}

func ExampleNearest() {
	fmt.Println(settings.Nearest("adress", []string{"address", "authorization", "timeout"}))
	// Output: address
}
