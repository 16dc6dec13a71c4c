"""The client against a scripted server."""
import errno
import inspect
import io
import keyword
import os
import queue
import socket
import subprocess
import sys
import tempfile
import threading
import unittest
import warnings
from pathlib import Path
from unittest import mock

import grpc
import guestfs_grpc
from guestfs_grpc._specs import SPECS
from fake_server import FakeServer, Failure
from relay import Relay

NOT_FOUND = grpc.StatusCode.NOT_FOUND


class WithServer(unittest.TestCase):
    """Tests with a handle."""

    def setUp(self):
        self.server = FakeServer()
        self.addCleanup(self.server.stop)
        self.g = guestfs_grpc.GuestFS(python_return_dict=True, environment=False, server=self.server.address)

    def tearDown(self):
        if self.g._connection is not None:
            self.g.close()

    def answer(self, rpc, **fields):
        self.server.answers[rpc] = lambda request: fields

    def refuse(self, rpc, *args, **metadata):
        def answer(request):
            raise Failure(*args, **metadata)
        self.server.answers[rpc] = answer


class Values(WithServer):
    """Arguments and results have the types of libguestfs's binding."""

    def test_requests_have_the_arguments_and_the_session(self):
        self.answer("Mkfs")
        self.assertIsNone(self.g.mkfs("ext4", "/dev/sda1", label="data", blocksize=4096))
        request = self.server.sent("Mkfs")[0]
        self.assertEqual((request.fstype, request.device, request.label, request.blocksize),
                         ("ext4", "/dev/sda1", "data", 4096))
        self.assertFalse(request.HasField("features"))
        self.assertEqual(self.server.sessions[-1], "s1")

    def test_each_call_has_a_request_id_of_its_own(self):
        self.answer("Mkfs")
        for _ in range(3):
            self.g.mkfs("ext4", "/dev/sda1")
        self.assertEqual(len(set(self.server.ids)), len(self.server.ids))
        for request_id in self.server.ids:
            self.assertRegex(request_id, "^[0-9a-f-]{36}$")

    def test_results(self):
        self.answer("Exists", existsflag=True)
        self.answer("Cat", content="text")
        self.answer("ReadFile", content=b"\xff")
        self.answer("ListDevices", devices=["/dev/sda"])
        self.answer("GetAppend")
        self.answer("Filesize", size=1 << 40)
        exists = self.g.exists("/")
        self.assertEqual((exists, type(exists)), (1, int))
        self.assertEqual(self.g.cat("/x"), "text")
        self.assertEqual(self.g.read_file("/x"), b"\xff")
        self.assertEqual(self.g.list_devices(), ["/dev/sda"])
        self.assertIsNone(self.g.get_append())
        self.assertEqual(self.g.filesize("/x"), 1 << 40)

    def test_tables_keep_their_order(self):
        pairs = [("/dev/sdc", "ext4"), ("/dev/sda", "swap"), ("/dev/sdb", "xfs")]
        self.server.answers["ListFilesystems"] = lambda request: {
            "fses": [{"key": key, "value": value} for key, value in pairs]}
        self.assertEqual(list(self.g.list_filesystems().items()), pairs)
        other = guestfs_grpc.GuestFS(environment=False, server=self.server.address)
        self.assertEqual(other.list_filesystems(), pairs)
        other.close()

    def test_structs(self):
        self.answer("Statns", statbuf={"st_size": 7})
        self.answer("LvsFull", logvols=[{"lv_name": "a", "lv_size": -1}, {"lv_name": "b", "snap_percent": 50}])
        self.assertEqual(self.g.statns("/x")["st_size"], 7)
        first, second = self.g.lvs_full()
        self.assertEqual((first["lv_name"], first["lv_size"], first["snap_percent"]), ("a", (1 << 64) - 1, None))
        self.assertEqual(second["snap_percent"], 50.0)

    def test_lists_in_batches(self):
        self.server.answers["Ls"] = lambda request: [{"listing": ["a", "b"]}, {"listing": ["c"]}]
        self.assertEqual(self.g.ls("/"), ["a", "b", "c"])

    def test_iterables_are_lists(self):
        self.answer("Command", output="")
        self.g.command(word for word in ("a", "b"))
        self.assertEqual(list(self.server.sent("Command")[0].arguments), ["a", "b"])

    def test_one_backend_setting_is_a_list_of_one(self):
        self.answer("SetBackendSettings")
        for settings in ("force_tcg", ["force_tcg"], ("force_tcg",)):
            self.assertIsNone(self.g.set_backend_settings(settings))
        self.assertEqual([list(request.settings) for request in self.server.sent("SetBackendSettings")],
                         [["force_tcg"]] * 3)

    def test_domains_of_libvirt(self):
        self.answer("AddLibvirtDom", nrdisks=1)
        self.answer("AddDomain", nrdisks=2)

        class Domain:
            """What the client uses of libvirt's class."""

            def UUIDString(self):
                return "11111111-2222-3333-4444-555555555555"

            def connect(self):
                return mock.Mock(**{"getURI.return_value": "qemu:///session"})
        self.assertEqual(self.g.add_libvirt_dom("guest", readonly=1), 1)
        self.assertEqual(self.server.sent("AddLibvirtDom")[0].dom, "guest")
        self.assertEqual(self.g.add_libvirt_dom(Domain(), readonly=1, discard="besteffort"), 2)
        request = self.server.sent("AddDomain")[0]
        self.assertEqual((request.dom, request.libvirturi, request.readonly, request.allowuuid, request.discard),
                         (Domain().UUIDString(), "qemu:///session", True, True, "besteffort"))
        self.refuse("AddDomain", NOT_FOUND, "no domain", "ENOENT")
        with self.assertRaisesRegex(guestfs_grpc.GuestfsError, "^add_libvirt_dom: no domain$"):
            self.g.add_libvirt_dom(Domain())

    def test_an_empty_optional_list_is_not_none(self):
        self.server.answers["TarOut"] = lambda request: []
        self.g.tar_out("/", lambda piece: None, excludes=[])
        self.assertTrue(self.server.sent("TarOut")[0].HasField("excludes"))

    def test_wrong_arguments(self):
        for error, call in (
                (TypeError, lambda: self.g.cat(3)), (TypeError, lambda: self.g.cat(b"/x")),
                (TypeError, lambda: self.g.cat(None)), (TypeError, lambda: self.g.cat()),
                (TypeError, lambda: self.g.cat("/x", "/y")), (TypeError, lambda: self.g.mkfs("ext4", "x", nonsense=1)),
                (TypeError, lambda: self.g.command("ls")), (TypeError, lambda: self.g.command([1])),
                (TypeError, lambda: self.g.command(None)), (TypeError, lambda: self.g.set_memsize(1.5)),
                (TypeError, lambda: self.g.set_memsize("512")), (TypeError, lambda: self.g.write("/x", 5)),
                (TypeError, lambda: self.g.upload(b"/x", "/y")), (TypeError, lambda: self.g.download("/x", 5)),
                (TypeError, lambda: self.g.add_libvirt_dom(5)), (TypeError, lambda: self.g.set_event_callback(5, 1)),
                (OverflowError, lambda: self.g.set_memsize(1 << 31)),
                (OverflowError, lambda: self.g.add_drive_scratch(1 << 63)),
                (ValueError, lambda: self.g.cat("a\0b")), (ValueError, lambda: self.g.cat("\udcff"))):
            with self.assertRaises(error):
                call()
        self.assertEqual([name for name, _ in self.server.requests], ["CreateSession", "SetProgram"])


class Errors(WithServer):
    """Errors are RuntimeError, with the library's text and errno."""

    def test_errors_of_the_daemon(self):
        self.refuse("Cat", NOT_FOUND, "/x: No such file or directory", "ENOENT", action="cat")
        with self.assertRaises(RuntimeError) as caught:
            self.g.cat("/x")
        self.assertEqual(str(caught.exception), "cat: /x: No such file or directory")
        self.assertEqual((caught.exception.errno, caught.exception.reason, self.g.last_errno()),
                         (errno.ENOENT, "ENOENT", errno.ENOENT))
        self.assertEqual(self.g.last_error(), str(caught.exception))

    def test_reasons_of_the_service(self):
        self.refuse("MountLocal", grpc.StatusCode.UNIMPLEMENTED, "mount_local does not work", "NOT_OVER_NETWORK")
        with self.assertRaisesRegex(RuntimeError, "^mount_local does not work$") as caught:
            self.g.mount_local("/mnt")
        self.assertEqual(caught.exception.reason, "NOT_OVER_NETWORK")

    def test_errors_that_say_when_to_try_again(self):
        self.refuse("Launch", grpc.StatusCode.RESOURCE_EXHAUSTED, "full", "TOO_MANY_SESSIONS", retry_after=5.25)
        self.refuse("Cat", NOT_FOUND, "/x: No such file or directory", "ENOENT", action="cat")
        for call, retry_after in ((self.g.launch, 5.25), (lambda: self.g.cat("/x"), None)):
            with self.assertRaises(guestfs_grpc.GuestfsError) as caught:
                call()
            self.assertEqual(caught.exception.retry_after, retry_after)

    def test_facts_about_the_server(self):
        self.answer("GetServerInfo", server_version="0.1.0", replica="guestfs-0", sessions=3, free_places=61)
        info = guestfs_grpc.server_info(server=self.server.address)
        self.assertEqual((info["replica"], info["sessions"], info["free_places"], info["draining"]),
                         ("guestfs-0", 3, 61, False))
        self.refuse("GetServerInfo", grpc.StatusCode.UNAUTHENTICATED, "who are you?", "UNAUTHENTICATED")
        with self.assertRaises(guestfs_grpc.GuestfsError) as caught:
            guestfs_grpc.server_info(server=self.server.address)
        self.assertEqual(caught.exception.reason, "UNAUTHENTICATED")
        with mock.patch.dict(os.environ):
            os.environ.pop("GUESTFS_GRPC_SERVER", None)
            self.assertRaisesRegex(ValueError, "needs the address", guestfs_grpc.server_info)

    def test_a_call_that_the_server_does_not_have(self):
        with self.assertRaisesRegex(RuntimeError, "cat: the server at .* does not have this call"):
            self.g.cat("/x")

    def test_a_drive_that_only_the_client_has(self):
        self.refuse("AddDrive", NOT_FOUND, "image missing", "IMAGE_MISSING")
        with tempfile.NamedTemporaryFile() as image:
            with self.assertRaisesRegex(RuntimeError, "exists on this machine, but drives are files of the server"):
                self.g.add_drive(image.name)
        with self.assertRaisesRegex(RuntimeError, "^add_drive: image missing$"):
            self.g.add_drive_opts("/nowhere/at/all", readonly=1)

    def test_a_newer_server(self):
        # A field, a reason and a type of event that this client does not know.
        self.server.answers["Cat"] = lambda request: b"\x0a\x04text\xfa\x3f\x03new"
        self.assertEqual(self.g.cat("/x"), "text")
        self.refuse("Cat", grpc.StatusCode.FAILED_PRECONDITION, "not any more", "REASON_OF_TOMORROW", fact="new")
        with self.assertRaisesRegex(guestfs_grpc.GuestfsError, "^cat: not any more$") as caught:
            self.g.cat("/x")
        self.assertEqual((caught.exception.errno, caught.exception.reason, caught.exception.metadata),
                         (0, "REASON_OF_TOMORROW", {"fact": "new"}))

    def test_an_older_server(self):
        # It states no version, and does not know what the client asks at its beginning.
        self.server.answers["CreateSession"] = lambda request: {"id": "s2"}
        del self.server.answers["SetProgram"]
        with self.assertRaisesRegex(guestfs_grpc.GuestfsError, "set_program: the server at .* does not have this call"):
            guestfs_grpc.GuestFS(environment=False, server=self.server.address)
        self.assertEqual([request.id for request in self.server.sent("DeleteSession")], ["s2"])

    def test_servers_of_another_kind(self):
        self.server.answers.pop("CreateSession")
        with self.assertRaisesRegex(RuntimeError, "does not have this call: .*, or no guestfs-grpc server"):
            guestfs_grpc.GuestFS(server=self.server.address)
        with socket.create_server(("127.0.0.1", 0)) as listener:
            def answer():
                connection, _ = listener.accept()
                with connection:
                    connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            threading.Thread(target=answer, daemon=True).start()
            with self.assertRaisesRegex(RuntimeError, "no connection to the guestfs-grpc server at 127"):
                guestfs_grpc.GuestFS(server=f"127.0.0.1:{listener.getsockname()[1]}")

    def test_an_answer_that_is_no_message(self):
        self.server.answers["Cat"] = lambda request: b"\xff\xff\xff"
        with self.assertRaisesRegex(guestfs_grpc.GuestfsError, "^cat: INTERNAL: "):
            self.g.cat("/x")
        self.server.answers["Ls"] = lambda request: [b"\xff\xff\xff"]
        with self.assertRaisesRegex(guestfs_grpc.GuestfsError, "^ls: INTERNAL: "):
            self.g.ls("/")

    def test_no_server(self):
        with self.assertRaisesRegex(RuntimeError, "no connection to the guestfs-grpc server at 127.0.0.1:1"):
            guestfs_grpc.GuestFS(server="127.0.0.1:1")

    def test_addresses(self):
        for address in ("localhost", "localhost:", ":1", "localhost:70000", "unix:relative", ""):
            with self.subTest(address), mock.patch.dict(os.environ, {"GUESTFS_GRPC_SERVER": address or "nonsense"}):
                with self.assertRaises(ValueError):
                    guestfs_grpc.GuestFS()
        with self.assertRaises(TypeError):
            guestfs_grpc.GuestFS(server=5)

    def test_a_lost_connection_ends_the_handle(self):
        self.answer("Cat", content="text")
        self.g.cat("/x")
        self.server.stop()
        with self.assertRaisesRegex(guestfs_grpc.ConnectionLost, "no connection"):
            self.g.cat("/x")
        with self.assertRaises(guestfs_grpc.ConnectionLost):
            self.g.cat("/x")
        self.g.close()

    def test_a_connection_that_is_lost_during_a_call(self):
        def cutting(relay, *answers):
            yield from answers
            relay.cut()

        def calls(g):
            yield "Cat", lambda: g.cat("/x")
            yield "Ls", lambda: g.ls("/")
            yield "Download", lambda: g.download("/x", io.BytesIO())
            yield "Upload", lambda: g.upload(iter([bytes(1 << 20)] * 4), "/x")
        for index in range(4):
            relay = Relay(self.server.address)
            g = guestfs_grpc.GuestFS(environment=False, server=relay.address)
            rpc, call = list(calls(g))[index]
            piece = {"Ls": {"listing": ["a"]}, "Download": {"chunk": b"a"}}.get(rpc)
            self.server.answers[rpc] = lambda request: (cutting(relay, piece) if piece else [*cutting(relay), {}][0])
            with self.subTest(rpc), self.assertRaisesRegex(guestfs_grpc.ConnectionLost, f"^{rpc.lower()}: no connection"):
                call()
            with self.assertRaises(guestfs_grpc.ConnectionLost):
                g.exists("/")
            self.assertEqual(g.last_errno(), errno.ECONNRESET)
            g.close()

    def test_a_session_on_another_replica(self):
        other = FakeServer()
        self.addCleanup(other.stop)
        other.answers["Cat"] = lambda request: {"content": "there"}
        self.refuse("Cat", grpc.StatusCode.FAILED_PRECONDITION, "elsewhere", "SESSION_ELSEWHERE", endpoint=other.address)
        self.assertEqual(self.g.cat("/x"), "there")
        self.assertEqual(other.sessions, ["s1"])

    def test_a_replica_that_is_a_socket_of_this_machine(self):
        if self.server.address.startswith("unix:"):
            self.skipTest("the server itself is one")
        self.refuse("Cat", grpc.StatusCode.FAILED_PRECONDITION, "elsewhere", "SESSION_ELSEWHERE", endpoint="unix:/run/x")
        with self.assertRaisesRegex(guestfs_grpc.GuestfsError, "names a local socket"):
            self.g.cat("/x")

    def test_copies_that_stay_in_their_directory(self):
        self.answer("IsFile", fileflag=True)
        with tempfile.TemporaryDirectory() as directory:
            inner = os.path.join(directory, "inner")
            os.mkdir(inner)
            for path in ("/..", "/a/..", "..", "/"):
                with self.subTest(path), self.assertRaises(guestfs_grpc.GuestfsError):
                    self.g.copy_out(path, inner)
            self.assertEqual(os.listdir(directory), ["inner"])


class Closing(WithServer):
    """The end of a handle."""

    def test_a_closed_handle(self):
        self.g.close()
        self.assertEqual(len(self.server.sent("DeleteSession")), 1)
        for call in (self.g.close, lambda: self.g.cat("/x"), lambda: self.g.set_event_callback(print, 1),
                     self.g.last_errno, self.g.__enter__):
            with self.assertRaises(guestfs_grpc.ClosedHandle):
                call()
        self.assertTrue(issubclass(guestfs_grpc.ClosedHandle, ValueError))

    def test_context_manager_and_garbage(self):
        with guestfs_grpc.GuestFS(environment=False, server=self.server.address):
            pass
        guestfs_grpc.GuestFS(environment=False, server=self.server.address)
        self.assertEqual(len(self.server.sent("DeleteSession")), 2)

    def test_data_that_could_not_be_written(self):
        self.refuse("DeleteSession", grpc.StatusCode.DATA_LOSS, "sda: no space", "EIO")
        with self.assertRaisesRegex(RuntimeError, "close: sda: no space"):
            self.g.close()
        with self.assertRaises(guestfs_grpc.ClosedHandle):
            self.g.close()

    def test_the_end_of_the_program(self):
        script = ("import guestfs_grpc, sys; g = guestfs_grpc.GuestFS(server=sys.argv[1], "
                  "close_on_exit=sys.argv[2] == 'yes'); g.itself = g")
        for close in ("yes", "no"):
            subprocess.run([sys.executable, "-c", script, self.server.address, close], check=True)
        self.assertEqual(len(self.server.sent("DeleteSession")), 1)


class Files(WithServer):
    """Files by name and as objects."""

    def uploaded(self):
        first, *rest = self.server.sent("Upload")[-1]
        return first.arguments, b"".join(request.chunk for request in rest)

    def test_uploads(self):
        content = bytes(range(256)) * 10_000
        self.answer("Upload")
        with tempfile.NamedTemporaryFile() as file:
            file.write(content)
            file.flush()
            for source in (file.name, Path(file.name), f"/dev/fd/{file.fileno()}", io.BytesIO(content),
                           iter([content[:5], content[5:]])):
                if str(source).startswith("/dev/fd"):
                    file.seek(0)
                self.g.upload(source, "/x")
                arguments, sent = self.uploaded()
                self.assertEqual((arguments.remotefilename, sent == content), ("/x", True))
        self.assertTrue(all(len(request.chunk) <= 1 << 20 for request in self.server.sent("Upload")[0]))
        self.assertEqual(self.server.sent("Upload")[0][0].arguments.progress_hint, len(content))

    def test_sources_that_fail(self):
        self.answer("Upload")

        def fails():
            yield b"part"
            raise KeyError("mine")
        with self.assertRaisesRegex(KeyError, "mine"):
            self.g.upload(fails(), "/x")
        with self.assertRaises(TypeError):
            self.g.upload(iter(["text"]), "/x")
        with self.assertRaisesRegex(RuntimeError, "upload: /nonexistent: No such file or directory"):
            self.g.upload("/nonexistent", "/x")
        self.assertEqual(self.g.last_errno(), errno.ENOENT)

    def test_downloads(self):
        self.server.answers["Download"] = lambda request: [{"chunk": b"ab"}, {"chunk": b"c"}]
        pieces = []
        buffer = io.BytesIO()
        with tempfile.TemporaryDirectory() as directory:
            name = os.path.join(directory, "file")
            self.g.download("/x", name)
            self.assertEqual(Path(name).read_bytes(), b"abc")
            self.server.answers["Download"] = lambda request: []
            self.g.download("/x", name)
            self.assertEqual(Path(name).read_bytes(), b"")
            self.refuse("Download", NOT_FOUND, "/x: No such file or directory", "ENOENT")
            with self.assertRaises(RuntimeError):
                self.g.download("/x", os.path.join(directory, "other"))
            self.assertEqual(os.listdir(directory), ["file"])
        self.server.answers["Download"] = lambda request: [{"chunk": b"ab"}, {"chunk": b"c"}]
        self.g.download("/x", pieces.append)
        self.g.download("/x", buffer)
        self.assertEqual((pieces, buffer.getvalue()), ([b"ab", b"c"], b"abc"))
        with self.assertRaisesRegex(RuntimeError, "download: /nonexistent/x: No such file or directory"):
            self.g.download("/x", "/nonexistent/x")

    def test_standard_input_and_output(self):
        self.answer("Upload")
        self.server.answers["Download"] = lambda request: [{"chunk": b"abc"}]
        script = ("import guestfs_grpc, sys; g = guestfs_grpc.GuestFS(server=sys.argv[1]); "
                  "g.upload('-', '/x'); g.download('/x', '-')")
        ran = subprocess.run([sys.executable, "-c", script, self.server.address], input=b"input", check=True,
                             stdout=subprocess.PIPE)
        self.assertEqual((self.uploaded()[1], ran.stdout), (b"input", b"abc"))


class Events(WithServer):
    """Callbacks run in the calling thread, before the call returns."""

    def setUp(self):
        super().setUp()
        self.events = queue.Queue()
        self.server.answers["Subscribe"] = lambda request: iter(self.events.get, None)
        self.answer("Cat", content="text")
        self.server.answers["GetPgroup"] = self.marker
        self.seen = []

    def tearDown(self):
        self.events.put(None)
        super().tearDown()

    def marker(self, request):
        self.events.put({"type": 8, "message": "get_pgroup"})
        for line in ("get_pgroup", "get_pgroup = 0"):
            self.events.put({"type": 7, "message": line})
        return {"pgroup": False}

    def take(self, *args):
        self.seen.append(args)

    def test_events_of_a_call(self):
        def cat(request):
            self.events.put({"type": 8, "message": "cat"})
            self.events.put({"type": 4, "progress": {"procedure": 76, "serial": 5, "position": 1, "total": 2}})
            self.events.put({"type": 7, "message": "a\uefff"})
            return {"content": "text"}
        self.server.answers["Cat"] = cat
        handle = self.g.set_event_callback(self.take, guestfs_grpc.EVENT_PROGRESS | guestfs_grpc.EVENT_TRACE)
        self.g.cat("/x")
        self.assertEqual(self.seen, [(guestfs_grpc.EVENT_PROGRESS, handle, None, [76, 5, 1, 2]),
                                     (guestfs_grpc.EVENT_TRACE, handle, b"a\xff", [])])
        self.g.delete_event_callback(handle)
        self.g.cat("/x")
        self.assertEqual(len(self.seen), 2)

    def test_progress_of_a_transfer(self):
        # Procedure, serial number, position and total, as libguestfs has them; the serial number tells calls apart.
        def download(request):
            for position in (1, 2):
                self.events.put({"type": 4, "progress": {"procedure": 9, "serial": 6, "position": position, "total": 2}})
                yield {"chunk": b"a"}
        self.server.answers["Download"] = download
        handle = self.g.set_event_callback(self.take, guestfs_grpc.EVENT_PROGRESS)
        self.g.download("/x", io.BytesIO())
        self.assertEqual(self.seen, [(guestfs_grpc.EVENT_PROGRESS, handle, None, [9, 6, position, 2])
                                     for position in (1, 2)])

    def test_events_of_a_newer_server(self):
        self.server.answers["Cat"] = lambda request: self.events.put({"type": 99, "message": "a"}) or {"content": "t"}
        self.g.set_event_callback(self.take, guestfs_grpc.EVENT_ALL)
        self.assertEqual(self.g.cat("/x"), "t")
        self.assertEqual(self.seen, [])

    def test_a_subscription_that_is_refused(self):
        self.refuse("Subscribe", grpc.StatusCode.RESOURCE_EXHAUSTED, "too many streams", "LIMIT_EXCEEDED")
        with self.assertRaisesRegex(guestfs_grpc.GuestfsError, "^too many streams$"):
            self.g.set_event_callback(lambda *_: self.seen.append("refused"), guestfs_grpc.EVENT_TRACE)
        self.assertEqual(self.g.cat("/x"), "text")
        self.server.answers["Subscribe"] = lambda request: iter(self.events.get, None)
        self.server.answers["Cat"] = lambda request: self.events.put({"type": 7, "message": "a"}) or {"content": "t"}
        handle = self.g.set_event_callback(self.take, guestfs_grpc.EVENT_TRACE)
        self.g.cat("/x")
        self.refuse("Subscribe", grpc.StatusCode.RESOURCE_EXHAUSTED, "too many streams", "LIMIT_EXCEEDED")
        with self.assertRaises(guestfs_grpc.GuestfsError):
            self.g.set_event_callback(self.take, guestfs_grpc.EVENT_ALL)
        self.g.cat("/x")
        self.assertEqual(self.seen, [(guestfs_grpc.EVENT_TRACE, handle, b"a", [])] * 2)

    def test_close(self):
        self.g.set_event_callback(self.take, guestfs_grpc.EVENT_ALL)
        self.server.answers["DeleteSession"] = lambda request: self.events.put(None) or {}
        self.g.close()
        self.assertEqual([event for event, *_ in self.seen], [guestfs_grpc.EVENT_CLOSE])

    def test_a_callback_that_fails(self):
        def fails(*_):
            raise KeyError("mine")
        self.server.answers["Cat"] = lambda request: self.events.put({"type": 7, "message": "a"}) or {"content": "t"}
        self.g.set_event_callback(fails, guestfs_grpc.EVENT_TRACE)
        self.g.set_event_callback(self.take, guestfs_grpc.EVENT_TRACE)
        with mock.patch("sys.stderr", io.StringIO()) as output:
            self.assertEqual(self.g.cat("/x"), "t")
        self.assertIn("KeyError: 'mine'", output.getvalue())
        self.assertEqual(len(self.seen), 1)

    def test_calls_from_a_callback(self):
        self.server.answers["Cat"] = lambda request: self.events.put({"type": 7, "message": "a"}) or {"content": "t"}
        self.answer("UserCancel")
        self.g.set_event_callback(lambda *_: self.g.user_cancel(), guestfs_grpc.EVENT_TRACE)
        self.g.cat("/x")
        self.assertEqual(len(self.server.sent("UserCancel")), 1)

    def test_trace_without_callback_goes_to_standard_error(self):
        self.answer("SetTrace")
        self.server.answers["Cat"] = lambda request: self.events.put({"type": 7, "message": "a"}) or {"content": "t"}
        with mock.patch("sys.stderr", io.StringIO()) as output:
            self.g.set_trace(1)
            self.g.cat("/x")
        self.assertEqual(output.getvalue(), "libguestfs: trace: a\n")


class Interface(unittest.TestCase):
    """The interface is that of libguestfs's own binding."""

    def test_event_names(self):
        self.assertEqual(guestfs_grpc.event_to_string(guestfs_grpc.EVENT_CLOSE | guestfs_grpc.EVENT_PROGRESS),
                         "close,progress")
        self.assertEqual(guestfs_grpc.event_to_string(0), "")

    def test_all_actions_are_methods(self):
        for name, spec in SPECS.items():
            parameters = list(inspect.signature(getattr(guestfs_grpc.GuestFS, name)).parameters)[1:]
            self.assertEqual(parameters, [one for one, _ in spec.args + spec.optargs], name)
            self.assertFalse([one for one in parameters if keyword.iskeyword(one)], name)
        self.assertEqual(len([spec for spec in SPECS.values() if spec.service != "DebugService"]), 600)

    def test_the_installed_binding_has_no_more(self):
        try:
            import guestfs
        except ImportError:
            self.skipTest("libguestfs's own binding is not installed")
        if guestfs is guestfs_grpc:
            self.skipTest("guestfs is this package")
        for name, method in inspect.getmembers(guestfs.GuestFS, inspect.isfunction):
            if name.startswith(("_", "internal_")):
                continue
            ours = inspect.signature(getattr(guestfs_grpc.GuestFS, name)).parameters
            theirs = inspect.signature(method).parameters
            # Newer versions have added optional arguments, always at the end.
            self.assertEqual(list(ours)[:len(theirs)], list(theirs), name)
        for name in dir(guestfs):
            if name.startswith("EVENT_"):
                self.assertEqual(getattr(guestfs_grpc, name), getattr(guestfs, name))

    def test_the_alias(self):
        alias = subprocess.run([sys.executable, "-m", "guestfs_grpc"], check=True, stdout=subprocess.PIPE, text=True)
        script = "import guestfs, guestfs_grpc; assert guestfs is guestfs_grpc; from guestfs import GuestFS"
        path = os.pathsep.join([alias.stdout.strip(), os.environ.get("PYTHONPATH", "")])
        subprocess.run([sys.executable, "-c", script], check=True, env={**os.environ, "PYTHONPATH": path})

    def test_deprecated_actions_warn(self):
        with FakeHandle() as g, warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            g.stat("/x")
        self.assertEqual(str(caught[0].message), "use GuestFS.statns() instead of GuestFS.stat()")
        self.assertEqual(caught[0].filename, __file__)


class FakeHandle:
    """A handle whose server knows stat."""

    def __enter__(self):
        self._server = FakeServer()
        self._server.answers["Stat"] = lambda request: {"statbuf": {}}
        self._handle = guestfs_grpc.GuestFS(environment=False, server=self._server.address)
        return self._handle

    def __exit__(self, *_):
        self._handle.close()
        self._server.stop()


if __name__ == "__main__":
    unittest.main()
