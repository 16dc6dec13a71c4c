"""What libguestfs does with local directories: copies of whole trees, packed and unpacked by the local tar."""
import errno
import os
import posixpath
import subprocess

from ._errors import GuestfsError, from_os_error


def _tar(action, arguments, **pipes):
    try:
        return subprocess.Popen(["tar", *arguments], stderr=subprocess.PIPE, **pipes)
    except OSError as error:
        raise from_os_error(error, action, "tar") from error


def _finish(action, tar, failed):
    """Waits for tar; its own error is the cause of what happened to the transfer."""
    message = tar.stderr.read().decode("utf-8", "backslashreplace").strip()
    tar.stderr.close()
    code = tar.wait()
    if code != 0 and not failed:
        raise GuestfsError(f"{action}: tar failed: {message or code}", 0, "", action)


def copy_in(handle, localpath, remotedir):
    """Sends a local file or directory into a directory of the guest."""
    if not os.path.lexists(localpath):
        raise from_os_error(FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT)), "copy_in", localpath)
    directory, name = os.path.split(os.path.abspath(localpath))
    tar = _tar("copy_in", ["-C", directory, "-cf", "-", "--", name or "."], stdout=subprocess.PIPE)
    failed = True
    try:
        handle.tar_in(tar.stdout, remotedir)
        failed = False
    finally:
        # Ends a tar that still writes.
        tar.stdout.close()
        _finish("copy_in", tar, failed)


def copy_out(handle, remotepath, localdir):
    """Fetches a file or directory of the guest into a local directory."""
    if not os.path.isdir(localdir):
        raise GuestfsError(f"copy_out: target '{localdir}' is not a directory", errno.ENOTDIR, "ENOTDIR", "copy_out")
    # A name that a guest or a server has chosen must not lead out of the directory.
    target = os.path.join(localdir, posixpath.basename(posixpath.normpath("/" + remotepath.lstrip("/"))))
    if handle.is_file(remotepath):
        handle.download(remotepath, target)
        return
    if not handle.is_dir(remotepath):
        raise GuestfsError(f"copy_out: '{remotepath}' is not a file or directory", errno.ENOENT, "ENOENT", "copy_out")
    try:
        os.makedirs(target, exist_ok=True)
    except OSError as error:
        raise from_os_error(error, "copy_out", target) from error
    tar = _tar("copy_out", ["-C", target, "-xf", "-"], stdin=subprocess.PIPE)
    failed = True
    try:
        handle.tar_out(remotepath, tar.stdin)
        failed = False
    except GuestfsError as error:
        # If tar has ended early, its message says why.
        failed = error.errno != errno.EPIPE
        if failed:
            raise
    finally:
        try:
            tar.stdin.close()
        except BrokenPipeError:
            failed = False
        _finish("copy_out", tar, failed)
