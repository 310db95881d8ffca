// Package postgrestest runs a PostgreSQL server of a test's own.
package postgrestest

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"testing"
)

// Server is a PostgreSQL server on the loopback interface. It ends with the test.
type Server struct {
	bin, dir, port string
	uid, gid       int // 0 for those of the test
	databases      int
}

// Start makes a server and starts it. The test is skipped where PostgreSQL is not
// installed, and fails there if RELAY_TEST_REQUIRE is set.
func Start(t testing.TB) *Server {
	t.Helper()
	s := &Server{bin: programs()}
	if s.bin == "" {
		if os.Getenv("RELAY_TEST_REQUIRE") != "" {
			t.Fatal("there is no PostgreSQL: install Debian's package postgresql")
		}
		t.Skip("there is no PostgreSQL on this machine")
	}
	var err error
	if s.dir, err = os.MkdirTemp("", "relay-postgres-"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(s.dir) })
	if os.Getuid() == 0 { // as which PostgreSQL refuses to run
		owner, err := user.Lookup("postgres")
		if err != nil {
			t.Fatal(err)
		}
		s.uid, _ = strconv.Atoi(owner.Uid)
		s.gid, _ = strconv.Atoi(owner.Gid)
		if err := os.Chown(s.dir, s.uid, s.gid); err != nil {
			t.Fatal(err)
		}
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, s.port, _ = net.SplitHostPort(listener.Addr().String())
	_ = listener.Close()
	s.run(t, "initdb", "--pgdata", s.data(), "--username", "relay", "--auth", "trust", "--encoding", "UTF8", "--locale", "C.UTF-8", "--no-sync")
	s.Start(t)
	t.Cleanup(func() {
		_ = s.command("pg_ctl", "--pgdata", s.data(), "--mode", "immediate", "stop").Run()
		if log, err := os.ReadFile(s.log()); t.Failed() && err == nil {
			t.Logf("PostgreSQL's own words end with\n%s", log[max(0, len(log)-4<<10):])
		}
	})
	return s
}

// programs returns the folder of the newest PostgreSQL, empty if there is none.
func programs() string {
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb") // where Debian keeps them
	if len(found) > 0 {
		return filepath.Dir(found[len(found)-1])
	}
	if initdb, err := exec.LookPath("initdb"); err == nil {
		return filepath.Dir(initdb)
	}
	return ""
}

func (s *Server) data() string { return filepath.Join(s.dir, "data") }

func (s *Server) log() string { return filepath.Join(s.dir, "log") }

// Start starts the server again after a Stop.
func (s *Server) Start(t testing.TB) {
	t.Helper()
	s.run(t, "pg_ctl", "--pgdata", s.data(), "--wait", "--silent", "--log", s.log(),
		"--options", fmt.Sprintf("-h 127.0.0.1 -p %s -k %s", s.port, s.dir), "start")
}

// Stop stops the server at once, as if it had lost its power.
func (s *Server) Stop(t testing.TB) {
	t.Helper()
	s.run(t, "pg_ctl", "--pgdata", s.data(), "--wait", "--silent", "--mode", "immediate", "stop")
}

// Database makes an empty database and returns its URL.
func (s *Server) Database(t testing.TB) string {
	t.Helper()
	s.databases++
	name := fmt.Sprintf("relay%d", s.databases)
	s.run(t, "createdb", "--host", "127.0.0.1", "--port", s.port, "--username", "relay", name)
	return fmt.Sprintf("postgres://relay@127.0.0.1:%s/%s", s.port, name)
}

func (s *Server) command(program string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(s.bin, program), args...)
	cmd.Dir = s.dir
	if s.uid != 0 {
		runAs(cmd, s.uid, s.gid)
	}
	return cmd
}

func (s *Server) run(t testing.TB, program string, args ...string) {
	t.Helper()
	// The server keeps what it is given as output open: a file, which nobody waits for.
	log, err := os.OpenFile(filepath.Join(s.dir, "commands"), os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = log.Close() }()
	cmd := s.command(program, args...)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Run(); err != nil {
		said, _ := os.ReadFile(log.Name())
		t.Fatalf("%s: %v\n%s", program, err, said)
	}
}
