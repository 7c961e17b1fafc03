package testserver

import (
	"os/exec"
	"syscall"
)

// diesWithUs ends a command's process when ours ends, be it by a kill.
func diesWithUs(cmd *exec.Cmd) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
}
