"""Processes that the checks in this folder start: the local runner and other programs."""

import functools
import json
import pathlib
import signal
import socket
import subprocess
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
# Enough to compile everything.
START_SECONDS = 1800
CARGO_RUN = ("cargo", "run", "--locked", "--quiet", "--")


class Failed(Exception):
    """A check failed."""


class Processes:
    """Processes that stop at the end of a `with`. The output of each goes to a file with its name
    in a folder."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.started = {}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for name in reversed(list(self.started)):
            self.stop(name)

    def start(self, name, command, ready):
        """Starts a process, waits until its output shows that it is ready, and returns the output.
        No two running processes have the same name."""
        if name in self.started:
            raise Failed(f"{name} runs already")
        with open(self.folder / name, "w") as output:
            process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)
        self.started[name] = process
        for _ in range(START_SECONDS * 10):
            if ready(self.output(name)):
                return self.output(name)
            if process.poll() is not None:
                break
            time.sleep(0.1)
        raise Failed(f"{' '.join(map(str, command))} does not start:\n{self.output(name)}")

    def stop(self, name):
        """Stops a process as Ctrl-C does."""
        process = self.started.pop(name)
        process.send_signal(signal.SIGINT)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def start_service(self, *flags, name="cargo-run", program=CARGO_RUN, port=0):
        """Starts the local runner, and returns the addresses that it prints, by their names. Port 0
        means any free port."""
        said = self.start(name, [*program, "--port", str(port), *flags], lambda text: "Ready" in text)
        lines = [line.replace("API ", "API=", 1) for line in said.splitlines()]
        return dict(line.split("=", 1) for line in lines if line.startswith(("API=", "AWS_")))

    def output(self, name):
        """What a process has printed."""
        return (self.folder / name).read_text()

    def all_running(self):
        """Whether all of them still run."""
        return all(process.poll() is None for process in self.started.values())


@functools.cache
def build():
    """Builds the local runner and `dtask`, and returns the folder that has both.

    With `-p tests` their dependencies have the same features as in `cargo test --workspace`, so
    that a run of all checks compiles them once.
    """
    packages = ["-p", "local", "-p", "tests", "-p", "dtask"]
    command = ["cargo", "build", "--quiet", "--locked", *packages, "--bin", "deletion-tasks", "--bin", "dtask"]
    subprocess.run(command, cwd=ROOT, check=True)
    described = subprocess.run(
        ["cargo", "metadata", "--no-deps", "--format-version", "1"], cwd=ROOT, check=True, capture_output=True, text=True
    )
    return pathlib.Path(json.loads(described.stdout)["target_directory"]) / "debug"


def free_port():
    """A free port of this machine."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def listens(port):
    """Whether a program listens on this port."""
    with socket.socket() as caller:
        return caller.connect_ex(("127.0.0.1", port)) == 0
