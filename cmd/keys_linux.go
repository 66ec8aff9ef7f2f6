package cmd

import (
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"
)

// readKeys makes a terminal hand over each key at once, without showing it, and
// give up reading a few times a second. Signals such as Ctrl-C stay.
func readKeys(in *os.File) (restore func(), err error) {
	// In the background, reading fails instead of stopping the process.
	signal.Ignore(syscall.SIGTTIN, syscall.SIGTTOU)
	fd := int(in.Fd())
	before, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return nil, err
	}
	keys := *before
	keys.Lflag &^= unix.ICANON | unix.ECHO
	keys.Cc[unix.VMIN], keys.Cc[unix.VTIME] = 0, 2 // tenths of a second
	if err := unix.IoctlSetTermios(fd, unix.TCSETS, &keys); err != nil {
		return nil, err
	}
	return func() { _ = unix.IoctlSetTermios(fd, unix.TCSETS, before) }, nil
}
