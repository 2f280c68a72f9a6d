package process

import (
	"os/exec"
	"syscall"
)

// tie has the kernel kill the process when the thread ends that starts it. Threads of the
// Go runtime end with the process, unless a goroutine is locked to one.
func tie(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
