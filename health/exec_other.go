//go:build !unix

package health

import "os/exec"

// Without process groups it is the command alone that is killed.

func ownGroup(*exec.Cmd) {}

func killGroup(cmd *exec.Cmd) error { return cmd.Process.Kill() }
