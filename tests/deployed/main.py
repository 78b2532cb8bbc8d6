"""Builds template.yaml, deploys it to an emulated AWS account on loopback, and tests it. `run` calls this; see README.md."""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

import adjust
import service
from account import Account
from gate import Gate
from stack import ROOT, Stack, build
from vectors import Vectors

TESTS = ["test_calls", "test_client", "test_dtask", "test_tasks", "test_metrics"]


def suite(modules):
    """The tests of these modules, in this order."""
    return unittest.defaultTestLoader.loadTestsFromNames(modules)


def step(what, began):
    """Prints how long a step took."""
    print(f"{time.monotonic() - began:6.1f} s  {what}", flush=True)
    return time.monotonic()


def runner():
    """Builds the one-machine runner, for its S3 Vectors, and the command line. With `-p tests` the dependencies have the same features as in `cargo test`."""
    packages = ["-p", "local", "-p", "tests", "-p", "dtask"]
    command = ["cargo", "build", "--quiet", "--locked", *packages, "--bin", "deletion-tasks", "--bin", "dtask"]
    subprocess.run(command, cwd=ROOT, check=True)
    target = subprocess.run(
        ["cargo", "metadata", "--no-deps", "--format-version", "1"], cwd=ROOT, check=True, capture_output=True, text=True
    )
    return Path(json.loads(target.stdout)["target_directory"]) / "debug" / "deletion-tasks"


def deployed(folder, work):
    """Deploys the service, passes it to `work`, and stops everything."""
    began = time.monotonic()
    built = build(folder)
    began = step("the eight functions are built (sam build)", began)
    program = runner()
    began = step("the S3 Vectors server and the command line are built", began)
    running = []
    try:
        vectors = Vectors(folder, program)
        running.append(vectors)
        gate = Gate(vectors.endpoint)
        running.append(gate)
        account = Account(folder, gate.endpoint)
        running.append(account)
        stack = Stack(account, built)
        print("\n".join(f"          {line}" for line in ["For MiniStack the template is changed:", *adjust.describe()]))
        stack.deploy()
        gate.guard(account.client("iam"), stack.role_arn("DeletionWorkerRole"))
        service.service = service.Service(account, stack, vectors, program.with_name("dtask"))
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
        help="take away each action of each role in turn, and expect a test to fail",
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
