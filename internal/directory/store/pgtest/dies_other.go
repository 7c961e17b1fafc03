//go:build !linux

package pgtest

import "syscall"

func diesWithUs(*syscall.SysProcAttr) {}
