"""The client against a real server: python3 live.py ADDRESS, with an appliance; image names are relative to its root."""
import io
import sys
import time
import unittest

import guestfs_grpc

SERVER = sys.argv.pop(1)
MIB = 1 << 20


class Live(unittest.TestCase):
    """One machine for all tests."""

    @classmethod
    def setUpClass(cls):
        cls.g = guestfs_grpc.GuestFS(python_return_dict=True, server=SERVER)
        cls.g.disk_create("live.img", "raw", 600 * MIB)
        cls.g.add_drive("live.img", format="raw")
        cls.g.launch()
        cls.g.mkfs("ext4", "/dev/sda")
        cls.g.mount("/dev/sda", "/")

    @classmethod
    def tearDownClass(cls):
        cls.g.close()

    def test_progress_comes_before_the_call_returns(self):
        seen = []
        handle = self.g.set_event_callback(lambda *args: seen.append(args), guestfs_grpc.EVENT_PROGRESS)
        try:
            self.g.debug("progress", ["5"])
            self.assertGreater(len(seen), 1)
            self.assertTrue(all(event == guestfs_grpc.EVENT_PROGRESS and buf is None and len(array) == 4
                                for event, _, buf, array in seen))
            self.assertEqual(seen[-1][3][2], seen[-1][3][3])
        finally:
            self.g.delete_event_callback(handle)

    def test_names_that_are_not_utf8(self):
        self.g.mkdir("/names")
        self.g.write("/names/b\uefe4r", "content")
        self.assertEqual(self.g.ls("/names"), ["b\uefe4r"])
        self.assertEqual(self.g.read_file("/names/" + self.g.ls("/names")[0]), b"content")

    def test_user_cancel_ends_a_download(self):
        self.g.fill(0, 200 * MIB, "/large")
        received = []

        def take(piece):
            received.append(len(piece))
            if len(received) == 3:
                self.g.user_cancel()
        with self.assertRaises(guestfs_grpc.GuestfsError) as caught:
            self.g.download("/large", take)
        self.assertEqual(caught.exception.errno, 4)
        self.assertLess(sum(received), 200 * MIB)
        self.assertEqual(self.g.filesize("/large"), 200 * MIB)

    def test_an_upload_whose_source_fails_leaves_the_handle_usable(self):
        def source():
            for _ in range(40):
                yield bytes(MIB)
            raise KeyError("mine")
        with self.assertRaisesRegex(KeyError, "mine"):
            self.g.upload(source(), "/part")
        self.g.upload(io.BytesIO(b"whole"), "/part")
        self.assertEqual(self.g.read_file("/part"), b"whole")

    def test_several_handles(self):
        with guestfs_grpc.GuestFS(server=SERVER) as other:
            other.add_drive_scratch(MIB)
            self.assertEqual(other.is_config(), 1)
        self.assertEqual(self.g.is_ready(), 1)

    def test_a_drive_outside_the_image_roots(self):
        with guestfs_grpc.GuestFS(server=SERVER) as other:
            with self.assertRaisesRegex(RuntimeError, "exists on this machine, but drives are files of the server"):
                other.add_drive("/etc/passwd", format="raw", readonly=1)

    def test_many_small_calls(self):
        started = time.monotonic()
        for _ in range(250):
            self.g.exists("/")
        print(f"250 calls: {time.monotonic() - started:.2f} s")


if __name__ == "__main__":
    unittest.main()
