//go:build linux

package postgrestest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
)

// Standby starts a second server that follows this one.
func (s *Server) Standby(t testing.TB) *Server {
	t.Helper()
	f := &Server{bin: s.bin, as: s.as}
	f.makeDir(t)
	out, err := f.command("pg_basebackup", "--pgdata", f.data(), "--dbname", s.plain(), "--checkpoint", "fast", "--no-sync", "--write-recovery-conf").CombinedOutput()
	if err != nil {
		t.Fatalf("pg_basebackup: %v\n%s", err, out)
	}
	f.Configure(t, fmt.Sprintf("listen_addresses = '%s'", f.host), fmt.Sprintf("port = %d", f.port), fmt.Sprintf("unix_socket_directories = '%s'", f.dir))
	f.Run(t)
	return f
}

// SmallDisk is a server on a disk of its own, which can be filled.
type SmallDisk struct {
	*Server
}

// StartOnSmallDisk starts a server whose disk has a size. It needs root, for a
// file system that only the server sees.
func StartOnSmallDisk(t testing.TB, megabytes int) *SmallDisk {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("a small disk needs root")
	}
	s := prepare(t)
	script := fmt.Sprintf(`set -eu
		mkdir -p %[1]s
		mount -t tmpfs -o size=%[2]dm,uid=%[3]d,gid=%[4]d,mode=0700 tmpfs %[1]s
		run="setpriv --reuid=%[3]d --regid=%[4]d --clear-groups"
		$run %[5]s/initdb --pgdata %[1]s --username charter --auth trust --encoding UTF8 --locale C --no-sync
		exec $run %[5]s/postgres -D %[1]s -c port=%[6]d -c listen_addresses=%[7]s -c unix_socket_directories= -c shared_buffers=16MB`,
		s.data(), megabytes, s.as.Uid, s.as.Gid, s.bin, s.port, s.host)
	s.start(t, func() *exec.Cmd {
		cmd := exec.Command("unshare", "--mount", "sh", "-c", script)
		cmd.Dir = s.dir
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGQUIT, Setpgid: true}
		return cmd
	})
	return &SmallDisk{s}
}

func (s *SmallDisk) filler() string {
	return filepath.Join("/proc", fmt.Sprint(s.cmd.Process.Pid), "root", s.data(), "filler")
}

// Fill leaves no room on the disk.
func (s *SmallDisk) Fill(t testing.TB) {
	t.Helper()
	f, err := os.Create(s.filler())
	if err != nil {
		t.Fatal(err)
	}
	for block := make([]byte, 1<<20); len(block) > 0; {
		if _, err := f.Write(block); errors.Is(err, syscall.ENOSPC) {
			block = block[:len(block)/2]
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// Empty makes room again.
func (s *SmallDisk) Empty(t testing.TB) {
	t.Helper()
	if err := os.Remove(s.filler()); err != nil {
		t.Fatal(err)
	}
}
