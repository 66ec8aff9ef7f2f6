package redistest

import (
	"os/exec"
	"syscall"
)

// dieWithParent makes the kernel kill the child when the test binary ends in
// any way, kill -9 included.
func dieWithParent(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
