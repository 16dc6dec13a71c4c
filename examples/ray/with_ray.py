"""Inspects many images with Ray: a line of JSON for each.

    python3 with_ray.py [--server ADDRESS] [--at-a-time N] [--cluster ADDRESS] LIST

The workers need inspect_image.py and the Python client; Ray sends them the directory of this file.
"""
import os
import sys

import ray

from inspect_image import arguments, bounded, inspect_image, print_results


def main():
    given = arguments("Inspects many images with Ray.")
    directory = os.path.dirname(os.path.abspath(__file__))
    ray.init(address=given.cluster, runtime_env={"working_dir": directory}, log_to_driver=False, include_dashboard=False)
    # The work is done by the service; here, a task only waits. What bounds the tasks are the service's places.
    task = ray.remote(num_cpus=0, max_retries=3)(inspect_image)
    try:
        return print_results(bounded(
            given.images, given.at_a_time,
            submit=lambda image: task.remote(image, given.server),
            first_of=lambda futures: ray.wait(futures, num_returns=1)[0][0],
            result_of=ray.get))
    finally:
        ray.shutdown()


if __name__ == "__main__":
    sys.exit(main())
