#!/usr/bin/env python3
"""Tests the page at `/docs` of `cargo run` in a real Chromium: it shows the operations, and its "try it" creates and lists a task, without
anything that its content security policy blocks. Takes no arguments.

It needs Debian's chromium and chromium-driver (set CHROMIUM and CHROMEDRIVER for others), and the Python package `selenium`.
"""

import json
import os
import pathlib
import sys
import tempfile
import urllib.request

from selenium import webdriver
from selenium.common.exceptions import WebDriverException
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from processes import Failed, Processes  # noqa: E402

CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
CHROMEDRIVER = os.environ.get("CHROMEDRIVER", "/usr/bin/chromedriver")
# For a container: root, no graphics card, no network.
FLAGS = """--headless=new --no-sandbox --disable-gpu --disable-dev-shm-usage --disable-quic --no-first-run
    --disable-background-networking --disable-component-update --disable-sync --window-size=1200,2400""".split()
CALLS = ["POST run", "GET info", "GET list", "PUT restart", "PUT cancel"]
PATHS = "/internal/deletion-tasks/"
SECONDS = 30


def main():
    with tempfile.TemporaryDirectory() as folder, Processes(folder) as processes:
        api = processes.start_service()["API"]
        browser = start_browser(folder)
        try:
            # The page works by every name of this server.
            for host in ("127.0.0.1", "localhost"):
                check(Page(browser, api.replace("127.0.0.1", host)), api)
        finally:
            browser.quit()


def start_browser(folder):
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in [*FLAGS, f"--user-data-dir={folder}/profile"]:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    return webdriver.Chrome(options, webdriver.ChromeService(CHROMEDRIVER))


class Page:
    """The page of one origin."""

    def __init__(self, browser, origin):
        self.browser, self.origin = browser, origin
        browser.get(f"{origin}/docs")
        self.wait("the operations are shown", lambda: len(self.all(".opblock-summary")) == len(CALLS))

    def all(self, selector):
        return self.browser.find_elements(By.CSS_SELECTOR, selector)

    def wait(self, what, holds):
        WebDriverWait(self.browser, SECONDS).until(lambda _: holds(), f"{self.origin}: not so: {what}")

    def calls(self):
        """The method and the end of the path of each operation that is shown."""
        methods = [shown.text for shown in self.all(".opblock-summary-method")]
        paths = [shown.get_attribute("data-path") for shown in self.all(".opblock-summary-path")]
        return [f"{method} {path.removeprefix(PATHS)}" for method, path in zip(methods, paths, strict=True)]

    def expand(self):
        """Opens what else there is: every operation that is closed, and every schema with all of its parts."""
        for selector in (".opblock:not(.is-open) .opblock-summary-control", ".json-schema-2020-12-expand-deep-button"):
            for button in self.all(selector):
                self.browser.execute_script("arguments[0].click()", button)
        self.wait("all operations are open", lambda: len(self.all(".opblock.is-open")) == len(CALLS))
        self.wait("schemas are open", lambda: "Which parameter of the query." in self.browser.find_element(By.ID, "page").text)

    def execute(self, call):
        """Opens a call, executes it as it is filled in, and returns the status and the body of the response."""
        block = f"#operations-Deletion_tasks-{call}"
        self.all(f"{block} .opblock-summary-control")[0].click()
        self.wait(f"{call} can be executed", lambda: self.all(f"{block} .execute"))
        self.all(f"{block} .execute")[0].click()
        row = f"{block} .live-responses-table tbody tr.response"
        self.wait(f"{call} has a response", lambda: self.all(f"{row} .response-col_status"))
        status = self.all(f"{row} .response-col_status")[0].text.split()[0]
        return status, self.all(f"{row} .response-col_description pre")[0].text


def check(page, api):
    expect("the title", page.browser.title, "Deletion Tasks")
    expect("the operations", page.calls(), CALLS)
    expect("buttons that ask for a signature", page.all(".authorize, .authorization__btn"), [])
    status, body = page.execute("createDeletionTask")
    expect("the status of a create", (status, json.loads(body)["id"]), ("200", "delete-xyz"))
    with urllib.request.urlopen(f"{api}/internal/deletion-tasks/info?task_id=delete-xyz") as response:
        expect("the created task", json.load(response)["id"], "delete-xyz")
    status, body = page.execute("listDeletionTasks")
    expect("the status and tasks of a list", (status, [task["id"] for task in json.loads(body)["tasks"]]), ("200", ["delete-xyz"]))
    page.expand()
    loaded = page.browser.execute_script("return performance.getEntriesByType('resource').map(entry => entry.name)")
    expect("what is loaded from elsewhere", [url for url in loaded if not url.startswith(f"{page.origin}/")], [])
    expect("messages on the console", page.browser.get_log("browser"), [])


def expect(what, seen, expected):
    if seen != expected:
        raise Failed(f"{what}: expected {expected}, got {seen}")
    print(f"ok      {what}", flush=True)


if __name__ == "__main__":
    try:
        main()
    except (Failed, WebDriverException, OSError) as error:
        sys.exit(f"tests/browser/docs.py: {error}")
