"""Processes that the checks in this folder start: the service on one machine, and what runs beside it."""

import pathlib
import signal
import subprocess
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
# To compile everything, at worst.
START_SECONDS = 1800


class Failed(Exception):
    """What is not as it should be."""


class Processes:
    """Processes that end with a `with`. What they say goes to files of their names in a folder."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.started = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in reversed(self.started):
            process.send_signal(signal.SIGINT)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()

    def start(self, name, command, ready):
        """Starts a process and waits until it is ready by what it said; answers that."""
        with open(self.folder / name, "w") as output:
            process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)
        self.started.append(process)
        for _ in range(START_SECONDS * 10):
            if ready(self.said(name)):
                return self.said(name)
            if process.poll() is not None:
                break
            time.sleep(0.1)
        raise Failed(f"{' '.join(command)} does not start:\n{self.said(name)}")

    def start_service(self, *flags):
        """`cargo run` on any free ports; answers the addresses that it prints, by their names."""
        command = ["cargo", "run", "--locked", "--quiet", "--", "--port", "0", *flags]
        said = self.start("cargo-run", command, lambda text: "Ready" in text)
        lines = [line.replace("API ", "API=", 1) for line in said.splitlines()]
        return dict(line.split("=", 1) for line in lines if line.startswith(("API=", "AWS_")))

    def said(self, name):
        return (self.folder / name).read_text()

    def run_on(self):
        """Whether all of them do."""
        return all(process.poll() is None for process in self.started)
