//go:build !unix

package pgtest

import "os/exec"

// detach does nothing where there are neither sessions nor root.
func detach(*exec.Cmd) error { return nil }

// giveAway does nothing where the server's user is the tests'.
func giveAway(...string) error { return nil }
