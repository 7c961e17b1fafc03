//go:build !linux

package testserver

import "os/exec"

func diesWithUs(*exec.Cmd) {}
