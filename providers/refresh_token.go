package providers

import (
	"errors"
	"os"
	"strings"
	"sync"

	"logto-email-relay/settings"
)

// maxRefreshToken bounds a file with a refresh token, in bytes.
const maxRefreshToken = 16 << 10

// refreshToken is what access tokens are issued for. Some services give another with each
// access token, and the one before ends: at once, or as Microsoft's after 90 days.
// https://learn.microsoft.com/en-us/entra/identity-platform/refresh-tokens
type refreshToken struct {
	file string // empty if it is written in the configuration

	mu       sync.Mutex
	text     string // the newest
	read     string // what the file held when it was looked at last
	replaced bool
	unkept   error // why the newest is not in the file
}

// unreadToken says why there is no refresh token in the file.
type unreadToken struct{ error }

// newest returns the token that is to be used. What somebody has written into the file since
// is newer than what the service gave.
func (t *refreshToken) newest() (string, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.file == "" {
		return t.text, nil
	}
	content, err := settings.ReadFile(t.file, maxRefreshToken)
	text := strings.TrimSpace(strings.TrimPrefix(string(content), "\ufeff")) // which some editors begin a file with
	switch {
	case err == nil && text != "" && text != t.read:
		t.text, t.read, t.replaced = text, text, false
	case t.text != "": // it can be written again later
	case err != nil:
		return "", &unreadToken{nameless(err)}
	default:
		return "", &unreadToken{errors.New("the file is empty")}
	}
	return t.text, nil
}

// replace takes the token that the service has given in place of the one before.
func (t *refreshToken) replace(text string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text, t.replaced = text, true
	if t.file == "" {
		return
	}
	t.unkept = nameless(write(t.file, text))
}

// note tells that the newest token will not be known after a restart.
func (t *refreshToken) note() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case !t.replaced:
		return ""
	case t.file == "":
		return "the service has given another refresh token in place of auth.refreshToken, which may end: " +
			"keep it in a file that the relay may write, auth.refreshTokenFile, or use client credentials"
	case t.unkept != nil:
		return "the new refresh token cannot be written to auth.refreshTokenFile, and the one in it may end: " + t.unkept.Error()
	}
	return ""
}

// nameless is an error without the name of the file, which is the token itself where somebody
// has written that in its place.
func nameless(err error) error {
	if path := new(os.PathError); errors.As(err, &path) {
		return path.Err
	}
	return err
}

// write puts a token in place of what a file holds. The file stays the same one, with its owner
// and its mode, which whoever checks the settings as root would change otherwise, and a
// container may have it mounted by itself.
func write(name, text string) error {
	file, err := os.OpenFile(name, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = file.WriteString(text + "\n")
	if err == nil {
		err = file.Truncate(int64(len(text)) + 1)
	}
	if err == nil {
		err = file.Sync()
	}
	return errors.Join(err, file.Close())
}
