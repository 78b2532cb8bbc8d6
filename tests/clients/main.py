"""Generates a Python client from docs/openapi.yaml, checks the types of two programs that use it,
and runs them against `cargo run`: story.py, and the script in examples/clients.

A warning of the generator fails the check, because it means that a part of the document is missing
in the client.
"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from processes import ROOT, Failed, Processes  # noqa: E402

EXAMPLE = ROOT / "examples/clients/delete_objects.py"
STORY = ROOT / "tests/clients/story.py"
# The model `slow` has the same objects, and a task of it takes so long that it can be canceled.
STORES = {"slow": "s3vectors://demo/embed-456?objects_per_second=1", "*": "s3vectors://demo/{embedding_model_id}"}


def main():
    with tempfile.TemporaryDirectory() as folder, Processes(folder) as processes:
        client = pathlib.Path(folder) / "client"
        run("openapi-python-client", "generate", "--path", ROOT / "docs/openapi.yaml", "--output-path", client, "--fail-on-warning")
        path = {"PYTHONPATH": f"{client}:{EXAMPLE.parent}", "MYPYPATH": str(client)}
        # mypy uses the client's types, but does not report errors within the client, because they
        # come from the generator's templates.
        run("mypy", "--strict", "--follow-imports=silent", "--cache-dir", os.devnull, EXAMPLE, STORY, more=path)
        api = processes.start_service("--vector-stores", json.dumps(STORES))["API"]
        run(sys.executable, STORY, api, more=path)
        call_example(api, path)


def call_example(api, path):
    """Checks that the script prints the outcome of each object, and that its exit status says how
    the task ended."""
    script = [sys.executable, EXAMPLE, "--api", f"{api}/internal/deletion-tasks"]
    done = run(*script, "--task-id", "by-example", "--reason", "Ticket 4711", "embed-456", "obj-1", "obj-2", more=path)
    expected = "obj-1\tfailed\tObject not found in index\nobj-2\tfailed\tObject not found in index\n"
    if done != expected:
        raise Failed(f"the script printed {done!r}, not {expected!r}")
    for arguments, code in (
        (["no-such-index", "obj-1"], 1),
        (["--task-id", "a b", "embed-456", "obj-1"], 1),
        (["--task-id", "by-example", "embed-456", "obj-1", "obj-2"], 0),
        (["--task-id", "by-example", "embed-456", "obj-7"], 1),
    ):
        ended = subprocess.run([*script, *arguments], env=os.environ | path, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        if ended.returncode != code or "Traceback" in ended.stderr:
            raise Failed(f"{arguments}: the exit status is {ended.returncode}, not {code}:\n{ended.stderr}")


def run(*command, more=None):
    """Runs a program with further variables, and returns its output."""
    done = subprocess.run([*map(str, command)], env=os.environ | (more or {}), stdout=subprocess.PIPE, text=True)
    print(done.stdout, end="", flush=True)
    if done.returncode != 0:
        raise Failed(" ".join(map(str, command)))
    return done.stdout


if __name__ == "__main__":
    try:
        main()
    except Failed as failed:
        sys.exit(f"FAILED: {failed}")
