"""`import guestfs` finds guestfs_grpc, for programs that are written for libguestfs's own binding."""
import sys
from pathlib import Path

try:
    import guestfs_grpc
except ImportError:
    # The package is used where it lies, and not installed.
    sys.path.append(str(Path(__file__).resolve().parents[2]))
    import guestfs_grpc

guestfs_grpc.install_alias()
