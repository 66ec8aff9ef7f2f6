package locust

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// setUserTimeout ends a connection whose other machine does not answer.
func setUserTimeout(_, _ string, conn syscall.RawConn) error {
	var err error
	cerr := conn.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(silence.Milliseconds()))
	})
	if cerr != nil {
		return cerr
	}
	return err
}
