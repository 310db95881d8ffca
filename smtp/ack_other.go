//go:build !linux

package smtp

import "net"

func quickAck(net.Conn) func() { return func() {} }
