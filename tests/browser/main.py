"""Tests the console, the page at `/docs` and the guard of `cargo run` in a real Chromium. `run`
installs what it needs. Everything is on loopback."""

import argparse
import concurrent.futures
import pathlib
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from browser import Browser  # noqa: E402
from console import Console  # noqa: E402
from crowd import Crowd  # noqa: E402
from docs import Docs  # noqa: E402
from objects import Objects  # noqa: E402
from origins import Origins  # noqa: E402
from processes import ROOT, Failed, Processes, build  # noqa: E402

# The slowest kinds come first.
KINDS = (Console, Crowd, Objects, Docs, Origins)
# Kinds that run at once, each with its own browser and services. They mostly wait.
AT_ONCE = 2


class Report:
    """The results of the checks. They are printed story by story, because several stories run at
    once."""

    def __init__(self):
        self.failed = 0
        self.lines = []

    def expect(self, what, holds, seen=""):
        self.lines.append(f"{'ok    ' if holds else 'FAILED'}  {what}{'' if holds else f': {seen}'}")
        self.failed += not holds

    def print(self, heading):
        print("\n".join(["", heading, *self.lines]), flush=True)
        self.lines = []


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--screenshots", type=pathlib.Path, default=ROOT / "target/screenshots", metavar="FOLDER", help="the folder for screenshots (default: target/screenshots)")
    parser.add_argument("--picture", action="store_true", help="make docs/images/console.png again, and test nothing")
    parser.add_argument("story", nargs="?", default="", help="run only the stories whose names contain this")
    return parser.parse_args()


def title(kind, story):
    return f"{kind.__name__.lower()}: {story.__name__.replace('_', ' ')}"


def told(name):
    """The stories whose names contain `name`, by their kinds."""
    chosen = {kind: [story for story in kind.STORIES if name in title(kind, story)] for kind in KINDS}
    if not any(chosen.values()):
        names = "\n".join(f"  {title(kind, story)}" for kind in KINDS for story in kind.STORIES)
        raise Failed(f"no story's name contains {name!r}. The stories are:\n{names}")
    return {kind: stories for kind, stories in chosen.items() if stories}


def tell(stage, story, name):
    """Runs one story. A failing story leaves a screenshot, and the next stories still run."""
    began = time.monotonic()
    shared = stage.api
    try:
        story(stage)
        stage.afterwards()
    except Exception as error:
        stage.browser.driver.save_screenshot(str(stage.screenshots / f"failed-{story.__name__}.png"))
        stage.expect(name, False, f"{type(error).__name__}: {str(error).partition('Stacktrace')[0].strip()}")
    # A story may have started a service of its own.
    stage.api = shared
    stage.report.print(f"{name} ({time.monotonic() - began:.1f} s)")


def tell_all(kind, stories, screenshots):
    """Runs the stories of one kind. Returns how many checks failed."""
    report = Report()
    with tempfile.TemporaryDirectory() as folder, Browser(folder) as browser, Processes(folder) as processes:
        stage = kind(browser, processes, report, screenshots)
        stage.prepare()
        for story in stories:
            tell(stage, story, title(kind, story))
    return report.failed


def main():
    given = arguments()
    chosen = told(given.story)
    given.screenshots.mkdir(parents=True, exist_ok=True)
    build()
    if given.picture:
        with tempfile.TemporaryDirectory() as folder, Browser(folder) as browser, Processes(folder) as processes:
            Console(browser, processes, Report(), given.screenshots).picture(ROOT / "docs/images/console.png")
        return
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        failed = sum(pool.map(lambda kind: tell_all(kind, chosen[kind], given.screenshots), chosen))
    if failed:
        raise Failed(f"{failed} checks failed")


if __name__ == "__main__":
    try:
        main()
    except (Failed, subprocess.SubprocessError, OSError) as error:
        sys.exit(f"tests/browser/run: {error}")
