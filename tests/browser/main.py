"""The console and the guard of `cargo run`, tested in a real Chromium. `run` installs what it needs; everything is on loopback."""

import argparse
import pathlib
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import console  # noqa: E402
import origins  # noqa: E402
from browser import Browser  # noqa: E402
from processes import ROOT, Failed, Processes  # noqa: E402


class Report:
    """What held and what did not."""

    def __init__(self):
        self.failed = 0

    def expect(self, what, holds, seen=""):
        print(f"{'ok    ' if holds else 'FAILED'}  {what}{'' if holds else f': {seen}'}", flush=True)
        self.failed += not holds


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--screenshots", type=pathlib.Path, default=ROOT / "target/screenshots", metavar="FOLDER", help="where screenshots go (default: target/screenshots)")
    parser.add_argument("--picture", action="store_true", help="make docs/images/console.png anew, and test nothing")
    parser.add_argument("story", nargs="?", default="", help="only the stories whose names contain this")
    return parser.parse_args()


def main():
    given = arguments()
    given.screenshots.mkdir(parents=True, exist_ok=True)
    report = Report()
    with tempfile.TemporaryDirectory() as folder, Processes(folder) as processes, Browser(folder) as browser:
        if given.picture:
            console.picture(browser, processes, ROOT / "docs/images/console.png")
            return
        if given.story in "origins":
            origins.test(browser, report, processes.start_service("--allow-host", "allowed.example"))
        console.test(browser, report, processes, given.screenshots, given.story)
    if report.failed:
        raise Failed(f"{report.failed} checks failed")


if __name__ == "__main__":
    try:
        main()
    except (Failed, subprocess.SubprocessError, OSError) as error:
        sys.exit(f"tests/browser/run: {error}")
