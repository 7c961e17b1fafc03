package lab

import "syscall"

// diesWithUs ends a process when ours ends, be it by a kill.
func diesWithUs() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
