"""Stories of the page at `/docs`."""

import json

from selenium.webdriver.common.by import By
from stories import API, EXAMPLE, Stories

CALLS = ["POST run", "GET info", "GET list", "PUT restart", "PUT cancel"]


class Docs(Stories):
    """The page shows the operations, and its "Try it out" makes calls."""

    def the_page_shows_and_makes_the_calls_by_every_name_of_this_server(self):
        self.browser.size(1200, 2400)
        for origin in (self.api, self.api.replace("127.0.0.1", "localhost")):
            self.browser.open(f"{origin}/docs")
            self.browser.wait("the operations are shown", lambda: len(self.all(".opblock-summary")) == len(CALLS))
            self.expect("the title", self.browser.driver.title == "Deletion Tasks", self.browser.driver.title)
            self.expect("the operations", self.calls() == CALLS, self.calls())
            self.expect("no button asks for a signature", self.all(".authorize, .authorization__btn") == [])
            status, body = self.execute("createDeletionTask")
            self.expect("a create succeeds", (status, body.get("id")) == ("200", EXAMPLE["task_id"]), (status, body))
            task = self.call("GET", "info", task_id=EXAMPLE["task_id"])
            self.expect("the task is created", task["progress"]["total"] == len(EXAMPLE["object_ids"]), task)
            status, body = self.execute("listDeletionTasks")
            listed = [task["id"] for task in body.get("tasks", [])]
            self.expect("a list has it", (status, listed) == ("200", [EXAMPLE["task_id"]]), (status, body))
        self.expand()
        loaded = self.browser.run("return performance.getEntriesByType('resource').map(entry => entry.name)")
        foreign = [url for url in loaded if not url.startswith(f"{origin}/")]
        self.expect("nothing is loaded from elsewhere", loaded and not foreign, foreign)
        self.expect("the page has said nothing", (log := self.browser.log()) == [], log)

    def all(self, selector):
        return self.browser.driver.find_elements(By.CSS_SELECTOR, selector)

    def calls(self):
        """The method and the end of the path of each shown operation."""
        methods = [shown.text for shown in self.all(".opblock-summary-method")]
        paths = [shown.get_attribute("data-path") for shown in self.all(".opblock-summary-path")]
        return [f"{method} {path.removeprefix(API)}" for method, path in zip(methods, paths, strict=True)]

    def execute(self, call):
        """Opens a call, executes it with its prefilled values, and returns the status and the body
        of the response."""
        block = f"#operations-Deletion_tasks-{call}"
        self.browser.one(f"{block} .opblock-summary-control").click()
        self.browser.wait(f"{call} can be executed", lambda: self.all(f"{block} .execute"))
        self.browser.one(f"{block} .execute").click()
        row = f"{block} .live-responses-table tbody tr.response"
        self.browser.wait(f"{call} has a response", lambda: self.all(f"{row} .response-col_status"))
        status = self.browser.one(f"{row} .response-col_status").text.split()[0]
        return status, json.loads(self.browser.one(f"{row} .response-col_description pre").text)

    def expand(self):
        """Opens every closed operation, and every schema with all its parts."""
        for selector in (".opblock:not(.is-open) .opblock-summary-control", ".json-schema-2020-12-expand-deep-button"):
            self.browser.run("document.querySelectorAll(given[0]).forEach(button => button.click())", selector)
        self.browser.wait("all operations are open", lambda: len(self.all(".opblock.is-open")) == len(CALLS))
        shown = "return document.querySelector('#page').textContent.includes(given[0])"
        self.browser.wait("schemas are open", lambda: self.browser.run(shown, "The parameter of the query."))

    STORIES = (the_page_shows_and_makes_the_calls_by_every_name_of_this_server,)
