// Package dialing opens connections to hosts that have several addresses. Go tries those one
// after the other and gives each its share of the time, at least two seconds, so that two dead
// ones cost all that a mail has for a connection. Here the next one is tried a moment later,
// beside those before it, and the first that answers is taken (RFC 8305, "Happy Eyeballs").
package dialing

import (
	"cmp"
	"context"
	"net"
	"net/netip"
	"strings"
	"time"
)

// headStart is how long an address is tried alone. It is that of Go before it tries the other
// family, since RFC 8305, section 8, wants a quarter of a second or so.
const headStart = 300 * time.Millisecond

// Dialer makes TCP connections.
type Dialer struct {
	// LookupTimeout bounds the look-up of the host's name, Timeout the connection after it;
	// zero is without bound.
	LookupTimeout, Timeout time.Duration
	// LocalAddr is where connections leave from; nil for the system's choice.
	LocalAddr net.Addr
	// Resolver looks names up; nil for net.DefaultResolver.
	Resolver *net.Resolver
}

// DialContext connects to host:port. The network is tcp, tcp4 or tcp6. Its errors are those of
// net.Dialer.
func (d *Dialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	list, port, err := d.lookUp(ctx, network, address)
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: network, Source: d.LocalAddr, Err: err}
	}
	if d.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, d.Timeout)
		defer cancel()
	}
	return d.race(ctx, network, list, port)
}

// lookUp returns the addresses of a host in the order in which they are tried.
func (d *Dialer) lookUp(ctx context.Context, network, address string) (list []netip.Addr, port string, err error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, "", err
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{ip}, port, nil
	}
	if d.LookupTimeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, d.LookupTimeout)
		defer cancel()
	}
	found, err := cmp.Or(d.Resolver, net.DefaultResolver).LookupNetIP(ctx, "ip"+strings.TrimPrefix(network, "tcp"), host)
	if err != nil {
		return nil, "", err
	}
	if list = usable(found, d.LocalAddr); len(list) == 0 {
		return nil, "", &net.AddrError{Err: "no address of the local one's family", Addr: host}
	}
	return list, port, nil
}

// usable returns the addresses of a local one's family, or all, each family in its order and
// in turns with the other one.
func usable(found []netip.Addr, local net.Addr) []netip.Addr {
	var first, other []netip.Addr
	for _, ip := range found {
		ip = ip.Unmap()
		if tcp, is := local.(*net.TCPAddr); is && (tcp.IP.To4() != nil) != ip.Is4() {
			continue
		}
		if len(first) == 0 || ip.Is4() == first[0].Is4() {
			first = append(first, ip)
		} else {
			other = append(other, ip)
		}
	}
	var list []netip.Addr
	for i := range max(len(first), len(other)) {
		for _, family := range [][]netip.Addr{first, other} {
			if i < len(family) {
				list = append(list, family[i])
			}
		}
	}
	return list
}

type result struct {
	conn net.Conn
	err  error
}

// race tries the addresses, each a moment after the one before it or when one has failed, and
// returns the first connection, or the first failure if there is none.
//
// It does so in other goroutines. Dialling takes a deep stack, which the caller's would keep for
// as long as its message waits.
func (d *Dialer) race(ctx context.Context, network string, list []netip.Addr, port string) (net.Conn, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	dialer := net.Dialer{LocalAddr: d.LocalAddr}
	results, over := make(chan result), make(chan struct{})
	defer close(over)
	try := func(ip netip.Addr) {
		conn, err := dialer.DialContext(ctx, network, net.JoinHostPort(ip.String(), port))
		select {
		case results <- result{conn, err}:
		case <-over:
			if conn != nil {
				_ = conn.Close()
			}
		}
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	var failure error
	for next, underWay := 0, 0; next < len(list) || underWay > 0; {
		select {
		case <-timer.C:
			if next < len(list) {
				go try(list[next])
				next, underWay = next+1, underWay+1
				timer.Reset(headStart)
			}
		case r := <-results:
			if r.err == nil {
				return r.conn, nil
			}
			if failure == nil {
				failure = r.err
			}
			underWay--
			timer.Reset(0)
		}
	}
	return nil, failure
}
