"""Inspects many images with Dask: a line of JSON for each.

    python3 with_dask.py [--server ADDRESS] [--at-a-time N] [--cluster ADDRESS] LIST

The workers of a cluster need inspect_image.py, which is sent to them, and the Python client.
"""
import os
import sys

from dask.distributed import Client, LocalCluster, wait

from inspect_image import arguments, bounded, inspect_image, print_results


def main():
    given = arguments("Inspects many images with Dask.")
    # Tasks only wait for the service, so a worker has a thread for each.
    cluster = given.cluster or LocalCluster(n_workers=1, processes=False, threads_per_worker=given.at_a_time,
                                            dashboard_address=None)
    with Client(cluster) as client:
        client.upload_file(os.path.join(os.path.dirname(os.path.abspath(__file__)), "inspect_image.py"))
        return print_results(bounded(
            given.images, given.at_a_time,
            # An inspection of the same image is another task, not an answer that is known already.
            submit=lambda image: client.submit(inspect_image, image, given.server, pure=False),
            first_of=lambda futures: next(iter(wait(futures, return_when="FIRST_COMPLETED").done)),
            result_of=lambda future: future.result()))


if __name__ == "__main__":
    sys.exit(main())
