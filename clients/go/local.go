package guestfs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// tar runs the local tar; what is copied is written to or read from it.
func tar(op string, arguments []string, copy func(in io.Writer, out io.Reader) error) error {
	command := exec.Command("tar", arguments...)
	var message bytes.Buffer
	command.Stderr = &message
	in, err := command.StdinPipe()
	if err != nil {
		return localError(op, err)
	}
	out, err := command.StdoutPipe()
	if err != nil {
		return localError(op, err)
	}
	if err := command.Start(); err != nil {
		return localError(op, err)
	}
	err = copy(in, out)
	// Ends a tar that still reads or writes.
	_ = in.Close()
	_ = out.Close()
	waiting := command.Wait()
	// What tar could not write is the cause of a transfer that could not go on.
	if waiting != nil && (err == nil || errors.Is(err, syscall.EPIPE)) {
		return localError(op, fmt.Errorf("tar failed: %s", strings.TrimSpace(message.String())))
	}
	return err
}

// Copy_in: Copies a local file or directory, with all that is in it, into a directory of the guest.
func (g *Guestfs) Copy_in(localpath string, remotedir string) error {
	if c := g.begin("copy_in", ""); c.err != nil {
		return c.err
	}
	absolute, err := filepath.Abs(localpath)
	if err == nil {
		_, err = os.Lstat(absolute)
	}
	if err != nil {
		return localError("copy_in", err)
	}
	arguments := []string{"-C", filepath.Dir(absolute), "-cf", "-", "--", filepath.Base(absolute)}
	return tar("copy_in", arguments, func(_ io.Writer, out io.Reader) error {
		return g.Tar_in_from(out, remotedir, nil)
	})
}

// Copy_out: Copies a file or directory of the guest, with all that is in it, into a local directory.
func (g *Guestfs) Copy_out(remotepath string, localdir string) error {
	if c := g.begin("copy_out", ""); c.err != nil {
		return c.err
	}
	if info, err := os.Stat(localdir); err != nil {
		return localError("copy_out", err)
	} else if !info.IsDir() {
		return localError("copy_out", &os.PathError{Op: "open", Path: localdir, Err: syscall.ENOTDIR})
	}
	target := filepath.Join(localdir, path.Base(path.Clean("/"+remotepath)))
	if isFile, err := g.Is_file(remotepath, nil); err != nil {
		return err
	} else if isFile {
		return g.Download(remotepath, target)
	}
	if isDir, err := g.Is_dir(remotepath, nil); err != nil {
		return err
	} else if !isDir {
		return localError("copy_out", &os.PathError{Op: "open", Path: remotepath, Err: syscall.ENOENT})
	}
	if err := os.MkdirAll(target, 0o777); err != nil {
		return localError("copy_out", err)
	}
	return tar("copy_out", []string{"-C", target, "-xf", "-"}, func(in io.Writer, _ io.Reader) error {
		return g.Tar_out_to(remotepath, in, nil)
	})
}

// Parse_environment: Takes settings from this program's environment: LIBGUESTFS_DEBUG, LIBGUESTFS_TRACE and
// LIBGUESTFS_MEMSIZE. The other variables of libguestfs concern the machine that runs the appliance.
func (g *Guestfs) Parse_environment() error {
	return g.takeSettings(os.Environ())
}

// Parse_environment_list: Takes settings from a list of strings NAME=value. Lists with variables other than those of
// Parse_environment are for the server, which must allow them.
func (g *Guestfs) Parse_environment_list(environment []string) error {
	for _, entry := range environment {
		name, _, _ := strings.Cut(entry, "=")
		if strings.HasPrefix(name, "LIBGUESTFS_") && name != "LIBGUESTFS_DEBUG" && name != "LIBGUESTFS_TRACE" && name != "LIBGUESTFS_MEMSIZE" {
			c := g.begin("parse_environment_list", "PropertyService/ParseEnvironmentList")
			c.texts(1, environment)
			return c.noResult()
		}
	}
	return g.takeSettings(environment)
}

func (g *Guestfs) takeSettings(environment []string) error {
	for _, entry := range environment {
		name, value, _ := strings.Cut(entry, "=")
		if value == "" {
			continue
		}
		var err error
		switch name {
		case "LIBGUESTFS_DEBUG":
			err = setBoolean(name, value, g.Set_verbose)
		case "LIBGUESTFS_TRACE":
			err = setBoolean(name, value, g.Set_trace)
		case "LIBGUESTFS_MEMSIZE":
			var memsize int
			if memsize, err = strconv.Atoi(value); err != nil {
				err = argumentError("parse_environment", "%s: %q is not a number", name, value)
			} else {
				err = g.Set_memsize(memsize)
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func setBoolean(name, value string, set func(bool) error) error {
	switch strings.ToLower(value) {
	case "1", "true", "t", "yes", "y", "on":
		return set(true)
	case "0", "false", "f", "no", "n", "off":
		return set(false)
	}
	return argumentError("parse_environment", "%s: %q is not a boolean", name, value)
}
