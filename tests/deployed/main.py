"""Builds template.yaml, deploys it to an emulated AWS account on loopback, and tests it. `run`
calls this; see README.md."""

import argparse
import shutil
import sys
import tempfile
import time
import unittest
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))

import adjust  # noqa: E402
import processes  # noqa: E402
import service  # noqa: E402
from account import Account  # noqa: E402
from gate import Gate  # noqa: E402
from stack import Stack, build  # noqa: E402
from vectors import Vectors  # noqa: E402

TESTS = ["test_calls", "test_client", "test_dtask", "test_tasks", "test_metrics"]


def suite(modules):
    """The tests of these modules, in this order."""
    return unittest.defaultTestLoader.loadTestsFromNames(modules)


def step(what, began):
    """Prints how long a step took."""
    print(f"{time.monotonic() - began:6.1f} s  {what}", flush=True)
    return time.monotonic()


def deployed(folder, work):
    """Deploys the service, passes it to `work`, and stops everything."""
    began = time.monotonic()
    built = build(folder)
    began = step("the eight functions are built (sam build)", began)
    programs = processes.build()
    began = step("the S3 Vectors server and the command line are built", began)
    running = []
    try:
        vectors = Vectors(folder, programs / "deletion-tasks")
        running.append(vectors)
        gate = Gate(vectors.endpoint)
        running.append(gate)
        account = Account(folder, gate.endpoint)
        running.append(account)
        stack = Stack(account, built)
        print("\n".join(f"          {line}" for line in ["For MiniStack the template is changed:", *adjust.describe()]))
        stack.deploy()
        gate.guard(account.client("iam"), stack.role_arn("DeletionWorkerRole"))
        service.service = service.Service(account, stack, vectors, programs / "dtask")
        step("the stack is deployed (sam deploy)", began)
        return work(service.service)
    finally:
        for program in reversed(running):
            program.stop()


def run_tests(_):
    """Tests everything: the calls, an update under load, the removal."""
    tests = suite([*TESTS, "test_changes"])
    return unittest.TextTestRunner(verbosity=2, failfast=True).run(tests).wasSuccessful()


def main():
    """Runs the tests; the exit code says how they ended."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument(
        "--least-privilege",
        action="store_true",
        help="remove each action of each role in turn, and expect a test to fail",
    )
    chosen = arguments.parse_args()
    if not unittest.TextTestRunner(verbosity=1).run(suite(["test_template"])).wasSuccessful():
        return 1
    work = run_tests
    if chosen.least_privilege:
        from least_privilege import work
    folder = Path(tempfile.mkdtemp(prefix="deletion-tasks-deployed-"))
    passed = False
    try:
        passed = deployed(folder, work)
    finally:
        if passed:
            shutil.rmtree(folder)
        else:
            print(f"The output of MiniStack and the functions is in {folder}", file=sys.stderr)
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
