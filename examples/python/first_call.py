"""A first call: which file systems are on a disk image, and what is in the first of them?

    python3 first_call.py [ADDRESS [IMAGE]]

IMAGE is absolute, or relative to an image root of the server. The guestfs package is made
by generate.sh, which is beside this file.
"""
import sys

import grpc
from guestfs.v1 import file_pb2, file_pb2_grpc, filesystem_pb2, filesystem_pb2_grpc
from guestfs.v1 import mount_pb2, mount_pb2_grpc, session_pb2, session_pb2_grpc

address = sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:50051"
image = sys.argv[2] if len(sys.argv) > 2 else "disk.img"

with grpc.insecure_channel(address) as channel:
    sessions = session_pb2_grpc.SessionServiceStub(channel)
    drive = session_pb2.DriveSpec(path=image)  # read-only, unless writable is set
    session = sessions.CreateSession(session_pb2.CreateSessionRequest(drives=[drive], launch=True))
    metadata = [("guestfs-session", session.id)]  # every call names its session
    try:
        filesystems = filesystem_pb2_grpc.FilesystemServiceStub(channel)
        fses = filesystems.ListFilesystems(filesystem_pb2.ListFilesystemsRequest(), metadata=metadata).fses
        for device in sorted(fses):
            print(f"{device}: {fses[device]}")
        mount = mount_pb2.MountRoRequest(mountable=min(fses), mountpoint="/")
        mount_pb2_grpc.MountServiceStub(channel).MountRo(mount, metadata=metadata)
        for batch in file_pb2_grpc.FileServiceStub(channel).Ls(file_pb2.LsRequest(directory="/"), metadata=metadata):
            print("\n".join(batch.listing))
    finally:
        sessions.DeleteSession(session_pb2.DeleteSessionRequest(id=session.id))
