//go:build linux

// Package postgrestest runs a real PostgreSQL server for tests: one of its own,
// in a directory of its own, with fsync on, which tests may kill. It needs the
// programs initdb and postgres (Debian: apt-get install postgresql). Nothing that
// runs in production imports it.
package postgrestest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// Server is a database server. Its methods are for one goroutine.
type Server struct {
	bin  string // directory of its programs
	dir  string
	host string // a loopback address of its own
	port int
	as   *syscall.Credential // nil unless the test runs as root, which PostgreSQL does not
	cmd  *exec.Cmd           // nil while it is stopped
	// ended is closed when cmd has ended.
	ended <-chan struct{}
}

// deadline is for starting and stopping.
const deadline = 30 * time.Second

// Start starts a server, which ends with the test; settings are those of
// postgresql.conf. Without the programs the test is skipped, or fails where CI or
// CHARTER_JUDGES_REQUIRED is set.
func Start(t testing.TB, settings ...string) *Server {
	t.Helper()
	s := prepare(t)
	out, err := s.command("initdb", "--pgdata", s.data(), "--username", "charter", "--auth", "trust", "--encoding", "UTF8", "--locale", "C", "--no-sync").CombinedOutput()
	if err != nil {
		t.Fatalf("initdb: %v\n%s", err, out)
	}
	s.Configure(t, append([]string{
		fmt.Sprintf("listen_addresses = '%s'", s.host), fmt.Sprintf("port = %d", s.port), fmt.Sprintf("unix_socket_directories = '%s'", s.dir),
		"shared_buffers = 64MB", "max_connections = 60", "logging_collector = off",
	}, settings...)...)
	s.Run(t)
	return s
}

// prepare finds the programs and a place for a server.
func prepare(t testing.TB) *Server {
	t.Helper()
	bin, err := programs()
	if err != nil {
		for _, name := range []string{"CI", "CHARTER_JUDGES_REQUIRED"} {
			if v := os.Getenv(name); v != "" && v != "0" && v != "false" {
				t.Fatalf("%v, and %s is set", err, name)
			}
		}
		t.Skipf("%v (Debian: apt-get install postgresql)", err)
	}
	s := &Server{bin: bin}
	if os.Getuid() == 0 {
		if s.as, err = somebody(); err != nil {
			t.Skipf("PostgreSQL does not run as root: %v", err)
		}
	}
	s.makeDir(t)
	return s
}

// makeDir gives the server a directory and a port, until the test ends.
func (s *Server) makeDir(t testing.TB) {
	t.Helper()
	var err error
	// Not t.TempDir: the path of a socket has at most 107 bytes.
	if s.dir, err = os.MkdirTemp("", "charter-postgres"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.Kill(t)
		if err := os.RemoveAll(s.dir); err != nil {
			t.Error(err)
		}
	})
	if s.as != nil {
		if err := os.Chown(s.dir, int(s.as.Uid), int(s.as.Gid)); err != nil {
			t.Fatal(err)
		}
	}
	// Not 127.0.0.1: while the server is down, somebody else could take its port.
	s.host = fmt.Sprintf("127.%d.%d.%d", 1+rand.IntN(254), rand.IntN(256), 1+rand.IntN(254))
	if s.port, err = freePort(s.host); err != nil {
		t.Fatal(err)
	}
}

// Address is host and port.
func (s *Server) Address() string { return fmt.Sprintf("%s:%d", s.host, s.port) }

// URL returns the address of a ledger.
func (s *Server) URL(schema string) string {
	return fmt.Sprintf("postgres://charter@%s/postgres?schema=%s", s.Address(), schema)
}

// SocketURL is a URL over the socket, as on one machine.
func (s *Server) SocketURL(schema string) string {
	return fmt.Sprintf("postgres:///postgres?host=%s&port=%d&user=charter&schema=%s", s.dir, s.port, schema)
}

// Configure appends settings to postgresql.conf.
func (s *Server) Configure(t testing.TB, settings ...string) {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(s.data(), "postgresql.conf"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.WriteString(strings.Join(settings, "\n") + "\n")
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
}

// Run starts the server again after Kill or Stop, on the same port.
func (s *Server) Run(t testing.TB) {
	t.Helper()
	s.start(t, func() *exec.Cmd { return s.command("postgres", "-D", s.data()) })
}

// start runs a command that becomes the server, and waits for it. One that ends is
// run again: processes of a killed server may hold its memory for a moment.
func (s *Server) start(t testing.TB, command func() *exec.Cmd) {
	t.Helper()
	ended := s.spawn(t, command())
	until := time.Now().Add(deadline)
	for {
		err := s.ping()
		if err == nil {
			return
		}
		if time.Now().After(until) {
			t.Fatalf("postgres does not start: %v\n%s", err, s.Log())
		}
		select {
		case <-ended:
			ended = s.spawn(t, command())
		default:
		}
		<-time.After(20 * time.Millisecond)
	}
}

// spawn runs a command that becomes the server. Ended is closed when it ends.
func (s *Server) spawn(t testing.TB, cmd *exec.Cmd) (ended <-chan struct{}) {
	t.Helper()
	log, err := os.OpenFile(filepath.Join(s.dir, "log"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = log, log
	if err := errors.Join(cmd.Start(), log.Close()); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { _ = cmd.Wait(); close(done) }()
	s.cmd, s.ended = cmd, done
	return done
}

// ping tells whether this server answers, and not another one in its place: a
// ledger of the same name would be there, under another key.
func (s *Server) ping() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	c, err := pgx.Connect(ctx, s.plain())
	if err != nil {
		return err
	}
	var data string
	err = c.QueryRow(ctx, "SHOW data_directory").Scan(&data)
	if err == nil && data != s.data() {
		err = fmt.Errorf("another server answers at %s, with its data in %s", s.Address(), data)
	}
	return errors.Join(err, c.Close(ctx))
}

// plain is the address of the server itself.
func (s *Server) plain() string {
	url, _, _ := strings.Cut(s.URL(""), "?")
	return url
}

// Exec runs SQL as superuser, in a session of its own.
func (s *Server) Exec(t testing.TB, sql string) {
	t.Helper()
	c := s.Connect(t)
	defer func() { _ = c.Close(context.Background()) }()
	if _, err := c.Exec(context.Background(), sql); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

// Connect opens a session as superuser.
func (s *Server) Connect(t testing.TB) *pgx.Conn {
	t.Helper()
	c, err := pgx.Connect(context.Background(), s.plain())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Log returns what the server has logged.
func (s *Server) Log() string {
	text, err := os.ReadFile(filepath.Join(s.dir, "log"))
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// Stop shuts the server down: sessions are ended.
func (s *Server) Stop(t testing.TB) {
	t.Helper()
	if err := s.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	<-s.ended
	s.cmd = nil
}

// Kill kills all processes of the server with SIGKILL.
func (s *Server) Kill(t testing.TB) {
	t.Helper()
	if s.cmd == nil {
		return
	}
	// The first one must not see its children die, and start others.
	pid := s.cmd.Process.Pid
	children := childrenOf(pid)
	_ = s.cmd.Process.Kill()
	for _, child := range append(children, childrenOf(pid)...) {
		_ = syscall.Kill(child, syscall.SIGKILL)
	}
	<-s.ended
	s.cmd = nil
	until := time.Now().Add(deadline)
	for _, child := range children { // they are no children of ours
		for syscall.Kill(child, 0) == nil && !isZombie(child) {
			if time.Now().After(until) {
				t.Fatalf("process %d of the server does not end", child)
			}
			<-time.After(5 * time.Millisecond)
		}
	}
}

// KillSession kills the process of one session with SIGKILL: the server then ends
// all sessions and recovers.
func (s *Server) KillSession(t testing.TB, pid int) {
	t.Helper()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		t.Fatal(err)
	}
}

func (s *Server) data() string { return filepath.Join(s.dir, "data") }

func (s *Server) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(s.bin, name), args...)
	cmd.Dir = s.dir
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: s.as, Pdeathsig: syscall.SIGQUIT, Setpgid: true}
	return cmd
}

// programs returns the directory of initdb and postgres.
func programs() (string, error) {
	path, err := exec.LookPath("initdb")
	if err == nil {
		if path, err = filepath.EvalSymlinks(path); err != nil {
			return "", err
		}
		return filepath.Dir(path), nil
	}
	// Debian keeps every version in a directory of its own, outside of PATH.
	found, globErr := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if globErr != nil || len(found) == 0 {
		return "", errors.New("no PostgreSQL server is installed: initdb is missing")
	}
	return filepath.Dir(found[len(found)-1]), nil
}

func somebody() (*syscall.Credential, error) {
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err := strconv.ParseUint(u.Uid, 10, 32)
		if err != nil {
			return nil, err
		}
		gid, err := strconv.ParseUint(u.Gid, 10, 32)
		return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid), NoSetGroups: true}, err
	}
	return nil, errors.New("there is neither a user postgres nor nobody")
}

func freePort(host string) (int, error) {
	l, err := net.Listen("tcp", host+":0")
	if err != nil {
		return 0, err
	}
	port := l.Addr().(*net.TCPAddr).Port
	return port, l.Close()
}

func childrenOf(parent int) (list []int) {
	files, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil
	}
	for _, file := range files {
		fields := afterName(file)
		if len(fields) > 1 && fields[1] == strconv.Itoa(parent) {
			pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
			if err == nil {
				list = append(list, pid)
			}
		}
	}
	return list
}

func isZombie(pid int) bool {
	fields := afterName(fmt.Sprintf("/proc/%d/stat", pid))
	return len(fields) == 0 || fields[0] == "Z"
}

// afterName returns the fields of a process from its state on.
func afterName(file string) []string {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil
	}
	return strings.Fields(string(data[bytes.LastIndexByte(data, ')')+1:]))
}
