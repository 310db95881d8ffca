package app

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/coreos/go-systemd/v22/activation"

	"logto-email-relay/config"
	"logto-email-relay/handlers"
)

// Names of the sockets that systemd may pass on (FileDescriptorName= in a socket
// unit). A socket without one of these names is the public one.
const (
	publicSocket = "public"
	adminSocket  = "admin"
)

// listen takes both ports before anything is served. A socket of systemd's goes
// before the address in the configuration: systemd holds it open while this
// process follows another, so that callers wait for a moment and are not refused.
func (a *App) listen(ctx context.Context, c *config.Config) (err error) {
	sockets, err := activatedSockets()
	if err != nil {
		return err
	}
	// Callers may have half of the descriptors, so that there are always some for mail
	// servers and files.
	files := descriptors()
	a.public, err = a.server(ctx, sockets[publicSocket], files/2, "server.address", c.Server.Address,
		func(g *Graph) http.Handler { return g.public })
	if err != nil {
		return err
	}
	if c.Admin.Address == "" && sockets[adminSocket] == nil {
		return nil
	}
	a.admin, err = a.server(ctx, sockets[adminSocket], files/8, "admin.address", c.Admin.Address,
		func(g *Graph) http.Handler { return g.admin })
	if err == nil {
		err = a.checkAdmin(c)
	}
	if err != nil {
		return errors.Join(err, a.public.Close())
	}
	return nil
}

// ErrAdmin marks an admin listener that strangers would read without a token, a mistake
// like one in the configuration.
var ErrAdmin = errors.New("admin.token")

// checkAdmin has the rules of the admin section hold for the address that is really
// listened on: a socket of systemd's, or one that stays until a restart.
func (a *App) checkAdmin(c *config.Config) error {
	if a.admin == nil {
		return nil
	}
	there := config.Admin{Address: a.admin.Addr().String(), Token: c.Admin.Token}
	for _, problem := range there.Check() {
		if !problem.Warning {
			return fmt.Errorf("%w: the admin listener is on %s: %s", ErrAdmin, there.Address, problem.Text)
		}
	}
	return nil
}

func (a *App) server(ctx context.Context, socket net.Listener, limit int, key, address string, of func(*Graph) http.Handler) (*handlers.Server, error) {
	if socket == nil {
		var err error
		if socket, err = new(net.ListenConfig).Listen(ctx, "tcp", address); err != nil {
			return nil, fmt.Errorf("%s: %w", key, err)
		}
		socket = &ownPort{TCPListener: socket.(*net.TCPListener)}
	}
	return handlers.NewServer(socket, limit, a.handler(of), a.logger), nil
}

// activatedSockets returns the sockets that systemd passed to this process, by
// name.
func activatedSockets() (map[string]net.Listener, error) {
	sockets := make(map[string]net.Listener)
	for _, file := range activation.Files(true) {
		name := publicSocket
		if file.Name() == adminSocket {
			name = adminSocket
		}
		socket, err := net.FileListener(file)
		if _, isPort := socket.(*net.TCPListener); err != nil || !isPort || sockets[name] != nil { // a Unix socket knows no callers' addresses
			return nil, fmt.Errorf("systemd passed more than one socket, or one that is no stream socket of TCP, for %s: "+
				"write a port into ListenStream=, and name one %q and one %q by FileDescriptorName=", name, publicSocket, adminSocket)
		}
		_ = file.Close() // the listener has a copy
		sockets[name] = socket
	}
	return sockets, nil
}

// letIn is how long connections are accepted that came before the port closes.
const letIn = 200 * time.Millisecond

// ownPort is a port that nobody else has open. The system would break off the connections
// that it has accepted and this process has not, though their requests may have come.
type ownPort struct {
	*net.TCPListener
	closing sync.Once
}

// Close implements net.Listener. Whoever accepts has to go on meanwhile.
func (p *ownPort) Close() error {
	p.closing.Do(func() {
		refuseMore(p.TCPListener)
		time.Sleep(letIn)
	})
	return p.TCPListener.Close()
}
