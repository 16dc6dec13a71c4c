"""Retries and bounds, without a server and without Ray."""
import json
import threading
import time
import unittest
from concurrent import futures
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO

from guestfs_grpc import ConnectionLost, GuestfsError

from inspect_image import ATTEMPTS, bounded, inspect_image, pause_before_retry, print_results


def refused(reason, retry_after=None):
    """An error of the service."""
    return GuestfsError(f"error {reason}", reason=reason, retry_after=retry_after)


class Handle:
    """A handle that finds one system; `failing` maps methods to the errors that they raise."""

    open = 0

    def __init__(self, failing):
        self._failing = failing
        Handle.open += 1

    def close(self):
        """Ends the session."""
        Handle.open -= 1
        self._raise("close")

    def _raise(self, name):
        if name in self._failing:
            raise self._failing[name]

    def __getattr__(self, name):
        answers = {
            "inspect_os": ["/dev/sda1"],
            "inspect_get_mountpoints": {"/boot": "/dev/sda2", "/": "/dev/sda1"},
            "inspect_get_type": "linux",
            "inspect_get_distro": "debian",
            "inspect_get_product_name": "Debian 13",
            "inspect_get_hostname": "web",
            "inspect_list_applications2": [{"app2_name": "bash", "app2_version": "5.2"}],
        }

        def method(*_args, **_optargs):
            self._raise(name)
            return answers.get(name)

        return method


def service(*attempts):
    """A `connect` for inspect_image: each attempt is an error of CreateSession, or the failing methods of a handle."""
    left = list(attempts)

    def connect(**_):
        attempt = left.pop(0)
        if isinstance(attempt, Exception):
            raise attempt
        return Handle(attempt)

    return connect, left


class Retries(unittest.TestCase):
    """Which errors are worth another attempt, and when."""

    def inspect(self, *attempts, **options):
        """The result, and the pauses."""
        connect, left = service(*attempts)
        pauses = []
        result = inspect_image("a.img", "server:1", connect=connect, sleep=pauses.append, **options)
        self.assertEqual((left, Handle.open), ([], 0))
        return result, pauses

    def test_an_image(self):
        result, pauses = self.inspect({})
        self.assertEqual(pauses, [])
        self.assertEqual(result, {"image": "a.img", "attempts": 1, "systems": [{
            "root": "/dev/sda1", "type": "linux", "distro": "debian", "name": "Debian 13", "hostname": "web",
            "applications": [["bash", "5.2"]]}]})

    def test_a_full_service_is_asked_again_when_it_says_so(self):
        result, pauses = self.inspect(refused("TOO_MANY_SESSIONS", 5), refused("SHUTTING_DOWN", 2), {})
        self.assertEqual(result["attempts"], 3)
        self.assertTrue(5 <= pauses[0] <= 6 and 2 <= pauses[1] <= 2.4, pauses)

    def test_a_lost_session_is_replaced(self):
        for error in (refused("SESSION_LOST"), refused("UNRESPONSIVE"), refused("OUTCOME_UNKNOWN"), ConnectionLost("gone")):
            for method in ("launch", "inspect_os", "umount_all", "close"):
                with self.subTest(error=error, method=method):
                    result, pauses = self.inspect({method: error}, {})
                    self.assertEqual((result["attempts"], len(pauses)), (2, 1))
                    self.assertIn("systems", result)

    def test_pauses_grow(self):
        pauses = [pause_before_retry(ConnectionLost("gone"), attempt) for attempt in range(1, 9)]
        for pause, least in zip(pauses, (1, 2, 4, 8, 16, 30, 30, 30)):
            self.assertTrue(least <= pause <= least * 1.2, pauses)

    def test_an_image_that_cannot_be_inspected_is_tried_once(self):
        for reason in ("IMAGE_MISSING", "IMAGE_UNUSABLE", "NOT_ALLOWED", "KERNEL_PANIC", "EINVAL", "INTERNAL", ""):
            with self.subTest(reason=reason):
                result, pauses = self.inspect({"launch": refused(reason)})
                self.assertEqual(pauses, [])
                self.assertEqual(result, {"image": "a.img", "attempts": 1, "error": f"error {reason}", "reason": reason})

    def test_attempts_end(self):
        result, pauses = self.inspect(*[refused("TOO_MANY_SESSIONS", 5)] * ATTEMPTS)
        self.assertEqual((result["attempts"], result["reason"]), (ATTEMPTS, "TOO_MANY_SESSIONS"))
        self.assertEqual(len(pauses), ATTEMPTS - 1)
        self.assertRaises(ValueError, inspect_image, "a.img", "server:1", 0)

    def test_a_defect_of_the_program_is_no_result(self):
        self.assertRaises(KeyError, self.inspect, KeyError("x"))


class Bounds(unittest.TestCase):
    """Many images, with threads as the engine."""

    def run_all(self, images, at_a_time, function):
        """The results."""
        with futures.ThreadPoolExecutor(50) as engine:
            return list(bounded(
                images, at_a_time, lambda image: engine.submit(function, image),
                lambda pending: next(iter(futures.wait(pending, return_when=futures.FIRST_COMPLETED).done)),
                lambda future: future.result()))

    def test_no_more_at_a_time(self):
        lock, now, most = threading.Lock(), [0], [0]

        def inspect(image):
            with lock:
                now[0] += 1
                most[0] = max(most[0], now[0])
            time.sleep(0.002)
            with lock:
                now[0] -= 1
            return {"image": image}

        results = self.run_all([f"{number}.img" for number in range(100)], 7, inspect)
        self.assertEqual(most[0], 7)
        self.assertEqual(sorted(result["image"] for result in results), sorted(f"{number}.img" for number in range(100)))

    def test_a_lost_worker_costs_its_image_only(self):
        def inspect(image):
            if image == "bad.img":
                raise OSError("the worker died")
            return {"image": image}

        results = self.run_all(["a.img", "bad.img", "b.img"], 2, inspect)
        self.assertEqual(len(results), 3)
        self.assertIn({"image": "bad.img", "attempts": 1, "error": "OSError: the worker died", "reason": ""}, results)

    def test_no_images(self):
        self.assertEqual(self.run_all([], 3, None), [])

    def test_results_are_lines_of_json(self):
        for results, code in (([{"image": "a\n"}, {"image": "b", "error": "x", "reason": ""}], 1), ([{"image": "a"}], 0)):
            printed, errors = StringIO(), StringIO()
            with redirect_stdout(printed), redirect_stderr(errors):
                self.assertEqual(print_results(results), code)
            self.assertEqual([json.loads(line) for line in printed.getvalue().splitlines()], results)
            self.assertEqual(errors.getvalue() != "", code == 1)


if __name__ == "__main__":
    unittest.main()
