package redistest

import "syscall"

// diesWithUs ends a command's process when ours ends, be it by a kill.
func diesWithUs(a *syscall.SysProcAttr) { a.Pdeathsig = syscall.SIGKILL }
