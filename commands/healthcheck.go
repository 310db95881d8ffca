package commands

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"logto-email-relay/app"
	"logto-email-relay/config"
)

// healthPatience bounds the wait for a process that should answer at once.
const healthPatience = 2 * time.Second

func newHealthcheck(s *environment) *cobra.Command {
	return &cobra.Command{
		Use: "healthcheck", Short: "Ask the running relay whether it is alive (for container health checks)", Args: noArguments,
		RunE: s.runs(func([]string) error { return s.healthcheck() }),
	}
}

// healthcheck asks the relay of the same configuration whether it is alive. Mistakes in
// the configuration are told if nobody answers: a relay that reads them runs on.
func (s *environment) healthcheck() error {
	address, wrong := s.publicAddress()
	if err := s.askAlive(address); err != nil {
		return cmp.Or(wrong, err)
	}
	return nil
}

func (s *environment) askAlive(address string) error {
	ctx, cancel := context.WithTimeout(s.ctx, healthPatience)
	defer cancel()
	url := "http://" + reachable(address) + "/healthz"
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	response, err := (&http.Client{Transport: &http.Transport{}}).Do(request)
	if err != nil {
		return fmt.Errorf("not alive: %w", err)
	}
	_ = response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("not alive: %s answers %d", url, response.StatusCode)
	}
	return nil
}

// publicAddress is where the running relay listens: as it says itself where it can
// leave word, else as the configuration says. The error is what is wrong with that.
func (s *environment) publicAddress() (string, error) {
	if directory := s.runtimeDirectory(); directory != "" {
		if address, err := os.ReadFile(filepath.Join(directory, app.AddressFile)); err == nil {
			return strings.TrimSpace(string(address)), nil
		}
	}
	if s.configFile() == "" {
		return config.Development("").Server.Address, nil
	}
	loaded, err := s.load()
	return loaded.Address, err
}

// reachable turns an address to listen on into one to connect to.
func reachable(address string) string {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return address
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "localhost"
	}
	return net.JoinHostPort(host, port)
}
