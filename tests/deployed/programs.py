"""Programs that the tests start and stop."""

import os
import signal
import subprocess
import time
from pathlib import Path


class NotInTime(AssertionError):
    """A condition did not become true in time."""


def until(what, condition, seconds=30, pause=0.1):
    """Waits until `condition()` is true, and returns its value."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise NotInTime(f"not within {seconds} s: {what}")
        time.sleep(pause)


class Program:
    """A program with its own process group, so that what it starts stops with it. Its environment
    is only `env`."""

    def __init__(self, command, env, log: Path):
        self.log = log
        with open(log, "wb") as output:
            self.process = subprocess.Popen(
                command,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def await_ready(self, what, condition, seconds=30):
        """Waits until the program is ready. If it is not, the error has its output."""

        def ready():
            if self.process.poll() is not None:
                raise NotInTime(f"{what} ended with {self.process.returncode}:\n{self.printed()}")
            return condition()

        try:
            return until(f"{what} is ready", ready, seconds)
        except NotInTime as error:
            raise NotInTime(f"{error}\n{self.printed()}") from error

    def printed(self):
        """What the program has printed."""
        return self.log.read_text(errors="replace")

    def stop(self):
        """Stops the program and everything that it started."""
        self._signal(signal.SIGTERM)
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            pass
        # MiniStack leaves the functions' processes behind.
        self._signal(signal.SIGKILL)
        self.process.wait(5)

    def _signal(self, number):
        try:
            os.killpg(self.process.pid, number)
        except ProcessLookupError:
            pass
