package app

import "net"

// descriptors is how many files and connections the process may have open. Windows
// has no such limit for a process.
func descriptors() int { return 1 << 20 }

// refuseMore does nothing: Windows has no way to.
func refuseMore(*net.TCPListener) {}
