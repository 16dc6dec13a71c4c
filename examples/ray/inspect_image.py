"""Inspects disk images through a guestfs-grpc server: one image with retries, and many with a bound.

Nothing here knows Ray or Dask: with_ray.py and with_dask.py run it. Needs the Python client (clients/python).
"""
import argparse
import json
import random
import sys
import time

import guestfs_grpc

ATTEMPTS = 12
"""How often an image is tried: without a place, for about a minute."""
AGAIN = frozenset(["APPLIANCE_GONE", "OUTCOME_UNKNOWN", "SESSION_LOST", "SESSION_UNKNOWN", "UNRESPONSIVE"])
"""The session has ended, and not because of the image. An inspection changes nothing, so another session can repeat it."""
LONGEST_PAUSE = 30


def pause_before_retry(error, attempt):
    """The seconds to wait before the same inspection is tried again; None if it would fail again.

    `error` is a GuestfsError, `attempt` the number of attempts so far. The status alone never decides: see docs/errors.md.
    """
    if error.retry_after is not None:
        pause = error.retry_after
    elif isinstance(error, guestfs_grpc.ConnectionLost) or error.reason in AGAIN:
        pause = min(2 ** (attempt - 1), LONGEST_PAUSE)
    else:
        return None
    # Those that were refused together do not come back together.
    return pause * (1 + random.random() / 5)


def inspect_image(image, server, attempts=ATTEMPTS, *, connect=guestfs_grpc.GuestFS, sleep=time.sleep):
    """What is on an image, as a dictionary for one line of JSON; `error` and `reason` say why it is not known.

    `image` is named as the server sees it. `connect` and `sleep` are for tests.
    """
    for attempt in range(1, attempts + 1):
        try:
            g = connect(python_return_dict=True, environment=False, server=server)
            try:
                return {"image": image, "attempts": attempt, "systems": _systems(g, image)}
            finally:
                g.close()
        except guestfs_grpc.GuestfsError as error:
            pause = pause_before_retry(error, attempt)
            if pause is None or attempt == attempts:
                return {"image": image, "attempts": attempt, "error": str(error), "reason": error.reason}
            sleep(pause)
    raise ValueError(f"attempts must be at least 1, and is {attempts}")


def _systems(g, image):
    g.add_drive_opts(image, readonly=True)
    g.launch()
    return [_system(g, root) for root in g.inspect_os()]


def _system(g, root):
    mountpoints = g.inspect_get_mountpoints(root)
    for mountpoint in sorted(mountpoints, key=len):
        g.mount_ro(mountpoints[mountpoint], mountpoint)
    try:
        return {
            "root": root,
            "type": g.inspect_get_type(root),
            "distro": g.inspect_get_distro(root),
            "name": g.inspect_get_product_name(root),
            "hostname": g.inspect_get_hostname(root),
            "applications": [[one["app2_name"], one["app2_version"]] for one in g.inspect_list_applications2(root)],
        }
    finally:
        g.umount_all()


def bounded(images, at_a_time, submit, first_of, result_of):
    """Inspects images, at most so many at a time; yields results as they come.

    `submit(image)` starts one and returns its future, `first_of(futures)` waits until one has ended and returns it,
    `result_of(future)` returns its result. An engine that loses a worker raises there: that image has an error as well.
    """
    pending = {}

    def take():
        future = first_of(list(pending))
        image = pending.pop(future)
        try:
            return result_of(future)
        except Exception as error:  # pylint: disable=broad-except
            return {"image": image, "attempts": 1, "error": f"{type(error).__name__}: {error}", "reason": ""}

    for image in images:
        if len(pending) >= at_a_time:
            yield take()
        pending[submit(image)] = image
    while pending:
        yield take()


def arguments(about):
    """The command line, which is the same for all engines; `at_a_time` is what the server has places for, unless given."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("list", help="file with the names of images as the server sees them, one per line")
    parser.add_argument("--server", default="127.0.0.1:50051", help="host:port, tls:host:port or unix:/path")
    parser.add_argument("--at-a-time", type=int, metavar="N",
                        help="images at a time; by default, the free places of the replica that answers")
    parser.add_argument("--cluster", help="address of the engine's cluster; by default, it runs on this machine")
    given = parser.parse_args()
    if given.at_a_time is None:
        given.at_a_time = max(1, guestfs_grpc.server_info(server=given.server)["free_places"])
    if given.at_a_time < 1:
        parser.error("--at-a-time must be at least 1")
    with open(given.list, encoding="utf-8") as lines:
        given.images = [line.strip() for line in lines if line.strip()]
    return given


def print_results(results):
    """Prints a line of JSON for each; returns the exit code, which is 1 if an image could not be inspected."""
    failed = 0
    for result in results:
        failed += "error" in result
        print(json.dumps(result), flush=True)
    if failed:
        print(f"{failed} images could not be inspected", file=sys.stderr)
    return 1 if failed else 0
