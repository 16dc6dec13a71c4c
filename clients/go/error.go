package guestfs

import (
	"fmt"
	"strings"
	"syscall"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// GuestfsError is the error of a call.
type GuestfsError struct {
	Op     string        // operation which failed
	Errmsg string        // the message of the daemon or the service
	Errno  syscall.Errno // 0 if the error has none
	// Reason is the name of an errno, or one of the service's own reasons, such as IMAGE_LOCKED.
	Reason string
	// Code is the status of gRPC.
	Code codes.Code
	// Metadata has further facts, by the names in the service's documentation of errors.
	Metadata map[string]string
}

func (e *GuestfsError) String() string {
	if e.Errno == 0 {
		return fmt.Sprintf("%s: %s", e.Op, e.Errmsg)
	}
	return fmt.Sprintf("%s: %s: %s", e.Op, e.Errmsg, e.Errno)
}

// Error implements the error interface.
func (e *GuestfsError) Error() string {
	return e.String()
}

// Unwrap makes errors.Is work with an errno.
func (e *GuestfsError) Unwrap() error {
	if e.Errno == 0 {
		return nil
	}
	return e.Errno
}

func closedHandleError(op string) *GuestfsError {
	return &GuestfsError{Op: op, Errmsg: "handle is closed"}
}

func argumentError(op string, format string, args ...any) *GuestfsError {
	return &GuestfsError{Op: op, Errmsg: fmt.Sprintf(format, args...), Errno: syscall.EINVAL, Reason: "EINVAL"}
}

func localError(op string, err error) *GuestfsError {
	e := &GuestfsError{Op: op, Errmsg: err.Error()}
	var errno syscall.Errno
	if asErrno(err, &errno) {
		e.Errno = errno
	}
	return e
}

// errorInfo is what the service says about an error; nil if the status is gRPC's own.
func errorInfo(err error) *errdetails.ErrorInfo {
	for _, detail := range status.Convert(err).Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok {
			return info
		}
	}
	return nil
}

// rpcError is the error for a failed RPC: of the service, or of the connection.
func rpcError(op, server string, err error) *GuestfsError {
	s := status.Convert(err)
	e := &GuestfsError{Op: op, Errmsg: strings.TrimPrefix(s.Message(), op+": "), Code: s.Code()}
	if info := errorInfo(err); info != nil {
		e.Reason, e.Metadata = info.GetReason(), info.GetMetadata()
		e.Errno = errnoOf(e.Reason)
		return e
	}
	switch s.Code() {
	case codes.Unavailable:
		e.Errmsg = fmt.Sprintf("no connection to the guestfs-grpc server at %s: %s", server, s.Message())
		e.Errno = syscall.ECONNRESET
	case codes.Unimplemented:
		e.Errmsg = fmt.Sprintf("the server at %s does not have this call: %s; it may be older than this client, or no "+
			"guestfs-grpc server", server, s.Message())
		e.Errno = syscall.ENOTSUP
	case codes.Canceled:
		e.Errno = syscall.EINTR
	case codes.DeadlineExceeded:
		e.Errno = syscall.ETIMEDOUT
	}
	return e
}
