package guestfs

import (
	"errors"
	"syscall"

	"golang.org/x/sys/unix"
)

// reasonErrnos are the errnos of the service's own reasons, as far as there are suitable ones.
var reasonErrnos = map[string]syscall.Errno{
	"ACTION_NOT_IN_DAEMON": syscall.ENOSYS,
	"BAD_ARGUMENT":         syscall.EINVAL,
	"CANCELLED":            syscall.EINTR,
	"DEADLINE_EXCEEDED":    syscall.ETIMEDOUT,
	"GROUP_NOT_AVAILABLE":  syscall.ENOTSUP,
	"IMAGE_MISSING":        syscall.ENOENT,
	"MESSAGE_TOO_LARGE":    syscall.EMSGSIZE,
	"NOT_ALLOWED":          syscall.EPERM,
	"NOT_OVER_NETWORK":     syscall.ENOTSUP,
	"OUTSIDE_IMAGE_ROOTS":  syscall.EACCES,
	"OUT_OF_MEMORY":        syscall.ENOMEM,
}

var namedErrnos = func() map[string]syscall.Errno {
	named := map[string]syscall.Errno{}
	for number := syscall.Errno(1); number < 256; number++ {
		if name := unix.ErrnoName(number); name != "" {
			named[name] = number
		}
	}
	return named
}()

// errnoOf is the number of an errno's name, or of one of the service's reasons; 0 if there is none.
func errnoOf(reason string) syscall.Errno {
	if number, ok := reasonErrnos[reason]; ok {
		return number
	}
	return namedErrnos[reason]
}

func asErrno(err error, errno *syscall.Errno) bool {
	return errors.As(err, errno)
}
