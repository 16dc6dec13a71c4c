"""Prints the directory that makes `import guestfs` find this package: PYTHONPATH=$(python3 -m guestfs_grpc) program."""
from pathlib import Path

print(Path(__file__).resolve().parent / "alias")
