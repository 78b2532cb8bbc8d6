"""The common base of all kinds of stories."""

import json
import urllib.parse
import urllib.request

from processes import build

API = "/internal/deletion-tasks/"
EXAMPLE = {"embedding_model_id": "embed-456", "task_id": "delete-xyz", "object_ids": ["obj-1", "obj-2"]}


class Stories:
    """A browser, a runner, and reported checks. A subclass lists its stories in STORIES. The name
    of each story says what must hold."""

    STORIES = ()

    def __init__(self, browser, processes, report, screenshots):
        self.browser = browser
        self.processes = processes
        self.report = report
        self.expect = report.expect
        self.screenshots = screenshots
        self.api = None

    def prepare(self):
        """Starts what the stories need."""
        self.start()

    def afterwards(self):
        """Checks after each story that the page's policy has blocked nothing and that its scripts
        have logged no error."""
        violations = self.browser.run("return window.violations")
        self.expect("the policy of the page stopped nothing", violations == [], violations)
        errors = [line for line in self.browser.log() if "Failed to load resource" not in line and "net::ERR" not in line]
        self.expect("the page logged no error", errors == [], errors)

    # ------------------------------------------------------------ the service

    def start(self, *flags, port=0, name="runner"):
        """Starts a runner, uses it from now on, and returns the addresses that it prints."""
        service = self.processes.start_service(*flags, name=name, program=[build() / "deletion-tasks"], port=port)
        self.api = service["API"]
        return service

    def call(self, method, name, body=None, **query):
        data = None if body is None else json.dumps(body).encode()
        address = f"{self.api}{API}{name}?{urllib.parse.urlencode(query)}"
        request = urllib.request.Request(address, data, {"Content-Type": "application/json"}, method=method)
        with urllib.request.urlopen(request, timeout=20) as response:
            return json.load(response)

    def create(self, **fields):
        return self.call("POST", "run", {**EXAMPLE, **fields})

    def ended(self, task_id):
        """Waits until a task has ended."""
        ends = ("done", "failed", "canceled")
        return self.browser.wait(f"{task_id} ends", lambda: (task := self.call("GET", "info", task_id=task_id))["status"] in ends and task)
