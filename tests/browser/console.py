"""Stories of the console: its lists, and the page of a task. Each story has its own tasks."""

import json
import os
import pathlib
import re
import time

from processes import build, free_port
from proxy import Proxy, without
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from stories import API, Stories

WIDE, NARROW = (1440, 900), (360, 740)
# `slow` is an index with a slow pace.
STORES = '{"slow": "s3vectors://demo/embed-456?objects_per_second=1", "*": "s3vectors://demo/{embedding_model_id}"}'
# The text that the page shows without the right token.
REFUSED = "Open the address that the program printed"
# All rules of axe, including those of best practice.
AXE = """
    const {violations} = await axe.run(document, {resultTypes: ["violations"]});
    return violations.map(({id, nodes}) => id + ": " + nodes.slice(0, 3).map(({html, failureSummary}) => html.slice(0, 200) + " " + failureSummary).join(" | "));
"""


class Console(Stories):
    """The lists and tasks of one runner, and of further runners if a story needs one."""

    def prepare(self):
        self.browser.size(*WIDE)
        self.start("--vector-stores", STORES)

    # ------------------------------------------------------------ the page

    def open(self, query="", origin=None):
        """Opens the console at an address, and waits for its content."""
        self.browser.open(f"{origin or self.api}/{query}")
        self.browser.wait("the page has content", self.has_content)

    def has_content(self):
        return self.seen("#rows tr") or self.seen("#items tr") or any(self.text(at) for at in ("#list-end", "#list-problem", "#task-problem", "#connection"))

    def seen(self, selector):
        return self.browser.run("return [...document.querySelectorAll(given[0])].filter(element => element.checkVisibility()).length", selector)

    def text(self, selector):
        return self.browser.run("return document.querySelector(given[0])?.textContent ?? ''", selector)

    def shows(self, selector, text):
        """Waits until an element has a text."""
        return self.browser.wait(lambda: f"{selector} shows {text!r}, not {self.text(selector)!r}", lambda: text in self.text(selector))

    def row(self, task_id):
        """The texts of a task's row."""
        script = "return [...document.querySelectorAll('#rows tr')].filter(row => row.querySelector('a').textContent === given[0]).map(row => row.innerText)"
        return next(iter(self.browser.run(script, task_id)), None)

    def press(self, *keys):
        """Presses keys at the current focus."""
        for key in keys:
            self.browser.driver.switch_to.active_element.send_keys(key)

    def focus(self):
        """The id or the text of the focused element."""
        return self.browser.run("const {id, textContent} = document.activeElement; return id || textContent")

    def tab_to(self, what):
        """Presses the tab key until a certain element has the focus."""
        passed = []
        for _ in range(40):
            self.press(Keys.TAB)
            passed.append(self.focus())
            if passed[-1] == what:
                return
        self.expect(f"the tabulator reaches {what}", False, passed)

    def hide(self, is_hidden):
        """Tells the page that it is hidden, or that it is visible."""
        self.browser.run("Object.defineProperty(document, 'hidden', {value: given[0], configurable: true}); document.dispatchEvent(new Event('visibilitychange'))", is_hidden)

    def inspect(self, what):
        """Checks the page at both widths, in light and dark: axe has no findings, and nothing
        scrolls sideways. Saves a screenshot of each."""
        if self.browser.run("return typeof axe") == "undefined":
            self.browser.driver.execute_script(pathlib.Path(os.environ["AXE"]).read_text())
        for width, height in (WIDE, NARROW):
            self.browser.size(width, height)
            fits = self.browser.run("return document.documentElement.scrollWidth <= innerWidth")
            self.expect(f"{what} at {width} px: nothing to scroll to the side", fits)
            for scheme in ("light", "dark"):
                self.browser.scheme(scheme)
                findings = self.browser.run(AXE)
                self.expect(f"{what} at {width} px, {scheme}: no finding of axe", findings == [], findings)
                self.browser.driver.save_screenshot(str(self.screenshots / f"{what.replace(' ', '-')}-{width}-{scheme}.png"))
        self.browser.size(*WIDE)
        self.browser.scheme("light")

    # ------------------------------------------------------------ the stories

    def what_the_policy_stops_is_noticed(self):
        """Checks that the check after each story can fail."""
        self.open()
        self.browser.log()
        self.browser.run("document.body.setAttribute('style', 'color: red')")
        self.expect("the page and the log tell of it", self.browser.run("return violations.length") == 1 and self.browser.log() != [])
        self.open()

    def the_example_from_pending_to_done_while_the_server_goes_and_comes_back(self):
        data = self.processes.folder / "tasks-of-the-example"
        port = free_port()
        self.start("--data", data, "--no-worker", name="example", port=port)
        self.open()
        self.shows("#list-end", "No task yet")
        self.inspect("an empty list")
        self.browser.run("window.isSamePage = true")
        self.create()
        self.browser.wait("the new task is shown", lambda: self.row("delete-xyz"))
        self.expect("a new task is pending", "pending" in self.row("delete-xyz"), self.row("delete-xyz"))
        self.processes.stop("example")
        self.shows("#connection", "Cannot reach the server since")
        self.expect("its row stays while the server is gone", "pending" in (self.row("delete-xyz") or ""))
        self.inspect("the server gone")
        self.start("--data", data, name="example", port=port)
        self.browser.wait("the banner goes", lambda: not self.text("#connection"))
        self.browser.one("#rows a").click()
        self.shows("#task-title", "delete-xyz")
        self.browser.one("#restart").click()
        self.shows("#dialog-effect", "Its message goes onto the queue once more")
        self.browser.one("#dialog-confirm").click()
        self.shows("#summary", "done")
        self.expect("its progress is in words", "1 deleted, 1 failed of 2" in self.text("#summary"), self.text("#summary"))
        self.shows("#announcement", "The task is done")
        self.browser.driver.back()
        self.browser.wait("its row is done", lambda: "done" in (self.row("delete-xyz") or ""))
        self.expect("the focus is on the task it was on", self.focus() == "delete-xyz", self.focus())
        self.expect("the page was never loaded again", self.browser.run("return window.isSamePage") is True)
        self.processes.stop("example")

    def a_row_goes_when_its_task_does(self):
        for name in ("stays", "expires"):
            self.create(task_id=name)
            self.ended(name)
        with Proxy(self.api) as proxy:
            self.open(origin=proxy.url)
            self.browser.wait("both are shown", lambda: self.row("stays") and self.row("expires"))
            self.browser.run("[...document.querySelectorAll('#rows a')].find(link => link.textContent === 'expires').focus()")
            # As with a list that lags, and with a task that has expired.
            proxy.change = without("stays", "expires")
            proxy.gone = {"expires"}
            self.browser.wait("the row of the expired task goes", lambda: not self.row("expires"))
            self.expect("the focus goes to the heading", self.focus() == "list-title", self.focus()[:80])
            self.expect("a row that only the list lacks stays", self.row("stays"))
            self.open("?task=expires", proxy.url)
            self.shows("#task-problem", "Task not found.")

    def the_ages_are_those_of_the_server(self):
        self.create(task_id="young")
        for hours in (-1, 1):
            wrong = f"{{ const now = Date.now; Date.now = () => now() + {hours} * 3600_000; }}"
            script = self.browser.devtools("Page.addScriptToEvaluateOnNewDocument", source=wrong)
            self.open()
            self.browser.devtools("Page.removeScriptToEvaluateOnNewDocument", **script)
            self.browser.wait("its row is shown", lambda: self.row("young"))
            self.browser.wait(lambda: f"a new task is some seconds old by a clock that is wrong by {hours} h: {self.row('young')}", lambda: re.search("\t[1-9][0-9]* s\t", self.row("young")))

    def a_dialog_stays_while_its_call_is_under_way(self):
        self.create(task_id="patience", object_ids=["obj-7"])
        self.ended("patience")
        with Proxy(self.api) as proxy:
            self.open(origin=proxy.url)
            self.browser.wait("its row is shown", lambda: self.row("patience"))
            self.browser.one("#rows").find_element(By.LINK_TEXT, "patience").click()
            self.shows("#summary", "1 deleted of 1")
            self.browser.one("#restart").click()
            self.shows("#dialog-effect", "Every object is deleted (1). Nothing is tried again")
            release = proxy.hold("/restart")
            self.browser.one("#dialog-confirm").click()
            self.browser.wait("nobody can take it back", lambda: not self.browser.one("#dialog-leave").is_enabled())
            self.press(Keys.ESCAPE)
            self.expect("Escape does not either", self.seen("#dialog"))
            release()
            self.browser.wait("the dialog is closed", lambda: not self.seen("#dialog"))
            self.shows("#fields", "Attempt2")
            self.browser.wait("it can be restarted again", lambda: self.seen("#restart") and "done" in self.text("#summary"))

            release = proxy.hold("/info")
            self.browser.one("#restart").click()
            self.browser.driver.back()
            release()
            calls = len(proxy.calls)
            self.browser.wait("the list is read", lambda: any("/list" in path for _, path in proxy.calls[calls:]))
            self.expect("no dialog opens for a task that the person has left", not self.seen("#dialog"))

    def a_walk_by_keyboard_to_a_canceled_task(self):
        self.create(task_id="walk", embedding_model_id="slow", object_ids=[f"obj-{number}" for number in range(100, 200)])
        self.open()
        self.browser.wait("its row is shown", lambda: self.row("walk"))
        self.press(Keys.TAB)
        self.expect("the first stop skips to the content", "Skip" in self.focus(), self.focus())
        self.press(Keys.ENTER)
        self.tab_to("walk")
        self.press(Keys.ENTER)
        self.shows("#summary", "processing")
        self.expect("the focus is on the task's heading", self.focus() == "task-title", self.focus())
        self.tab_to("cancel")
        self.press(Keys.ENTER)
        self.shows("#dialog-effect", "100 objects will not be deleted")
        self.expect("the focus is in the dialog", self.focus() == "dialog-leave", self.focus())
        self.inspect("a dialog")
        self.press(Keys.ESCAPE)
        self.browser.wait("the dialog is closed", lambda: not self.seen("#dialog"))
        self.expect("the focus is back where it was", self.focus() == "cancel", self.focus())
        self.press(Keys.ENTER)
        self.browser.wait("the dialog is open", lambda: self.seen("#dialog"))
        self.tab_to("dialog-confirm")
        self.press(Keys.ENTER)
        self.shows("#summary", "canceled")
        self.browser.wait("the dialog is closed", lambda: not self.seen("#dialog"))
        self.browser.wait("the focus goes to the heading, since the button is gone", lambda: self.focus() == "task-title")
        self.expect("the service has canceled it", self.call("GET", "info", task_id="walk")["status"] == "canceled")

    def a_restart_says_what_it_will_do_and_what_has_changed_meanwhile(self):
        self.create(task_id="again", object_ids=["obj-5", "obj-6", "absent-1"])
        self.ended("again")
        self.open("?task=again")
        self.shows("#summary", "done")
        self.browser.one("#restart").click()
        self.browser.wait("the dialog is open", lambda: self.seen("#dialog"))
        self.expect("it says what is tried again", self.text("#dialog-effect") == "Tries the 1 object again that was not deleted. 2 stay deleted.", self.text("#dialog-effect"))
        self.browser.one("[value=all]").click()
        self.expect("it says what `all` does", self.text("#dialog-effect") == "Tries every object again (3). 2 were deleted before; what was inserted under their ids since then is deleted too.", self.text("#dialog-effect"))
        self.call("PUT", "restart", task_id="again")
        self.ended("again")
        self.browser.one("#dialog-confirm").click()
        self.shows("#dialog-problem", "is now at attempt 2; the request named attempt 1. Nothing was changed, and the task was read again: it is done, at attempt 2.")
        self.browser.one("#dialog-confirm").click()
        self.browser.wait("the dialog is closed", lambda: not self.seen("#dialog"))
        self.browser.wait("the task is at attempt 3", lambda: "Attempt3" in self.text("#fields") and "done" in self.text("#summary"))
        self.expect("all were tried again", self.call("GET", "info", task_id="again")["progress"]["failed"] == 3)

    def filters_are_in_the_address(self):
        for name, model in (("here-1", "embed-456"), ("nowhere-1", "nowhere"), ("nowhere-2", "elsewhere")):
            self.create(task_id=name, embedding_model_id=model)
            self.ended(name)
        self.open()
        self.browser.wait("all are shown", lambda: self.row("here-1") and self.row("nowhere-1"))
        self.browser.one('#statuses [data-status="failed"]').click()
        self.browser.wait("only the failed ones are shown", lambda: self.row("nowhere-1") and not self.row("here-1"))
        self.expect("the status is in the address", self.browser.driver.current_url.endswith("/?status=failed"), self.browser.driver.current_url)
        self.browser.one("summary").click()
        self.browser.one("[name=model]").send_keys("nowhere", Keys.ENTER)
        self.browser.wait("only those of the model are shown", lambda: self.row("nowhere-1") and not self.row("nowhere-2"))
        self.browser.driver.back()
        self.browser.wait("Back takes the model away", lambda: self.row("nowhere-2"))
        self.browser.driver.back()
        self.browser.wait("Back takes the status away", lambda: self.row("here-1"))
        self.browser.run("document.querySelector('[name=since]').focus()")
        ActionChains(self.browser.driver).send_keys("1", Keys.ENTER).perform()
        self.expect("half a time filters nothing", self.browser.driver.current_url.endswith("/"), self.browser.driver.current_url)
        self.expect("the browser says why", self.browser.run("return document.querySelector('[name=since]').validity.badInput"))
        self.open("?status=failed&since=2026-01-01T00:00:00Z&until=2026-01-02T00:00:00Z")
        self.shows("#list-end", "No task has this status, this model and this time.")
        self.open("?since=yesterday")
        self.shows("#list-problem", "created_after")
        self.create(task_id="leaves", embedding_model_id="slow", object_ids=[f"obj-{number}" for number in range(300, 400)])
        self.open("?status=processing")
        self.browser.wait("the task at work is shown", lambda: self.row("leaves"))
        self.call("PUT", "cancel", task_id="leaves")
        self.browser.wait("a canceled task leaves the list of those at work", lambda: not self.row("leaves"))
        self.open("?status=canceled")
        self.browser.wait("it is in the list of those canceled", lambda: self.row("leaves"))
        self.call("PUT", "restart", task_id="leaves")
        self.browser.wait("a restarted task leaves the list of those canceled", lambda: not self.row("leaves"))
        self.call("PUT", "cancel", task_id="leaves")
        self.open("?status=failed")
        self.browser.wait("the row is shown", lambda: self.row("nowhere-1"))
        self.call("PUT", "restart", task_id="nowhere-1")
        self.browser.wait("its attempt is current", lambda: "\t2" in (self.row("nowhere-1") or ""))

    def of_two_states_of_a_task_the_newer_one_stays(self):
        """Merges every pair of states of a task's life, in both orders. The time of an update says
        nothing, because the clocks of two machines differ."""
        life = [
            {"created_at": created, "attempt": attempt, "status": status, "progress": {"total": 9, "remaining": 9 - settled}, "updated_at": updated}
            for created, attempt, status, settled, updated in [
                ("2026-01-01T00:00:00Z", 1, "pending", 0, "3"),
                ("2026-01-01T00:00:00Z", 1, "processing", 0, "2"),
                ("2026-01-01T00:00:00Z", 1, "processing", 5, "1"),
                ("2026-01-01T00:00:00Z", 1, "canceled", 5, "1"),
                ("2026-01-01T00:00:00Z", 1, "canceled", 7, "0"),
                ("2026-01-01T00:00:00Z", 2, "pending", 2, "0"),
                ("2026-01-01T00:00:00Z", 2, "failed", 9, "0"),
                ("2026-01-01T00:00:00Z", 2, "failed", 9, "1"),
                ("2026-01-01T00:00:00Z", 10, "done", 9, "0"),
                ("2026-04-01T00:00:00Z", 1, "pending", 0, "0"),
            ]
        ]
        script = """
            const {merged} = await import("/console/state.js");
            const same = (a, b) => JSON.stringify(a) === JSON.stringify(b);
            return given[0].flatMap((older, at) => given[0].slice(at + 1)
                .filter(newer => !same(merged(older, newer), newer) || !same(merged(newer, older), newer))
                .map(newer => JSON.stringify([older, newer])));
        """
        wrong = self.browser.run(script, life)
        self.expect("the newer state of a task stays, whichever comes first", wrong == [], wrong)

    def what_lags_never_replaces_what_is_newer(self):
        with Proxy(self.api) as proxy:
            self.create(task_id="lagging", embedding_model_id="slow", object_ids=[f"obj-{number}" for number in range(200, 300)])
            stale = self.browser.wait("it is processing", lambda: (page := self.call("GET", "list")) and page["tasks"][0]["status"] == "processing" and page)
            proxy.change = lambda path, body: json.dumps(stale).encode() if path.startswith(f"{API}list") else body
            self.open(origin=proxy.url)
            self.browser.wait("its row is shown", lambda: "processing" in (self.row("lagging") or ""))
            self.call("PUT", "cancel", task_id="lagging")
            self.browser.wait("its row is canceled", lambda: "canceled" in self.row("lagging"))
            shown = "window.shown = new Set(); new MutationObserver(() => [...document.querySelectorAll('#rows tr')].forEach(row => row.querySelector('a').textContent === 'lagging' && shown.add(row.querySelector('.status').textContent))).observe(document.querySelector('#rows'), {subtree: true, childList: true, characterData: true})"
            self.browser.run(shown)
            polled = len(self.lists(proxy))
            self.browser.wait("the list is read twice more", lambda: len(self.lists(proxy)) >= polled + 2)
            self.expect("it never went back", "canceled" in self.row("lagging") and "processing" not in self.browser.run("return [...shown]"), self.row("lagging"))

    def lists(self, proxy):
        return [path for _, path in proxy.calls if path.startswith(f"{API}list")]

    def dtask_console_lets_in_who_has_its_token_and_passes_calls_on(self):
        data = self.processes.folder / "tasks-behind-dtask"
        port = free_port()
        self.start("--data", data, "--vector-stores", STORES, name="behind-dtask", port=port)
        self.create(task_id="again")
        self.ended("again")
        self.create(task_id="stops", embedding_model_id="slow", object_ids=[f"obj-{number}" for number in range(400, 500)])
        own_port = free_port()
        address = self.start_dtask(own_port)
        origin = address.partition("/#")[0]
        self.open(origin=origin)
        self.shows("#connection", REFUSED)
        self.expect("without the token the page shows no task", not self.seen("#rows tr"))
        self.browser.run("window.isSamePage = true")
        self.browser.open(address)
        self.browser.wait("the token lets the page in", lambda: self.row("again"))
        self.expect("the token leaves the address", self.browser.driver.current_url == f"{origin}/", self.browser.driver.current_url)
        self.open("?task=again", origin)
        self.shows("#summary", "done")
        self.browser.one("#restart").click()
        self.shows("#dialog-effect", "1 object")
        self.browser.one("#dialog-confirm").click()
        self.shows("#fields", "Attempt2")
        self.expect("the service has restarted it", self.call("GET", "info", task_id="again")["attempt"] == 2)
        self.open("?task=stops", origin)
        self.browser.wait("it can be canceled", lambda: self.seen("#cancel"))
        self.browser.one("#cancel").click()
        self.shows("#dialog-effect", "Stops the task")
        self.browser.one("#dialog-confirm").click()
        self.shows("#summary", "canceled")
        self.expect("the service has canceled it", self.call("GET", "info", task_id="stops")["status"] == "canceled")
        self.open(origin=origin)
        self.browser.wait("its row is canceled", lambda: "canceled" in (self.row("stops") or ""))
        self.browser.run("window.isSamePage = true")
        self.processes.stop("behind-dtask")
        self.shows("#connection", f"Cannot reach {self.api}/")
        away = self.text("#connection")
        self.expect("the page names the status and ends its sentences once", "(status 502, since" in away and ".." not in away and ". (" not in away, away)
        self.expect("the rows stay", self.row("again") and self.row("stops"))
        self.start("--data", data, "--vector-stores", STORES, name="behind-dtask", port=port)
        self.browser.wait("the service is back", lambda: not self.text("#connection"))
        self.processes.stop("dtask")
        self.shows("#connection", "Cannot reach the server since")
        address = self.start_dtask(own_port)
        self.shows("#connection", REFUSED)
        self.expect("the rows stay when another token is wanted", self.row("again"))
        self.browser.open(address)
        self.browser.wait("the new token lets the same page in", lambda: not self.text("#connection"))
        self.expect("the page was never loaded again", self.browser.run("return window.isSamePage") is True)
        self.processes.stop("dtask")
        self.processes.stop("behind-dtask")

    def start_dtask(self, port):
        """Starts `dtask console` in front of the runner, and returns the address that it prints."""
        command = [build() / "dtask", "--api", self.api, "console", "--port", str(port)]
        return re.search(r"^Console (\S+)", self.processes.start("dtask", command, lambda text: "Console" in text), re.M)[1]

    def the_page_waits_as_it_is_told_and_while_nobody_sees_it(self):
        with Proxy(self.api) as proxy:
            self.open(origin=proxy.url)
            self.browser.wait("the tasks are shown", lambda: self.seen("#rows tr"))
            proxy.refuse((429, {"Retry-After": "4"}))
            self.shows("#connection", "Too many calls at once; try again (status 429")
            refused = proxy.calls[-1][0]
            self.browser.wait("the page tries again", lambda: not self.text("#connection"))
            next_call = next(at for at, _ in proxy.calls if at > refused)
            self.expect("it waits as long as it is told", next_call - refused >= 3.9, next_call - refused)
            self.hide(True)
            time.sleep(0.5)  # for a call that was under way
            calls = len(proxy.calls)
            time.sleep(4)  # longer than the page waits between two reads
            self.expect("a page that nobody sees makes no call", len(proxy.calls) == calls, proxy.calls[calls:])
            calls = len(proxy.calls)
            self.hide(False)
            self.browser.wait("it reads again at once", lambda: len(proxy.calls) > calls)

    def the_list_with_tasks(self):
        self.create(task_id="a-long-id-" + "x" * 200, embedding_model_id="m" * 128)
        self.open()
        self.browser.one("summary").click()
        self.inspect("a list")

    def picture(self, file):
        """Makes the picture of the README: a list with a task of each kind."""
        self.start("--vector-stores", STORES.replace("slow", "embed-500").replace("objects_per_second=1", "objects_per_second=60"))
        self.browser.size(1200, 470)
        for task_id, fields in {
            "reindex-embed-457": {"embedding_model_id": "embed-457", "object_ids": [f"obj-{number}" for number in range(1, 41)]},
            "delete-xyz": {},
            "user-4711": {"object_ids": [f"obj-{number}" for number in range(3, 260)]},
        }.items():
            self.create(task_id=task_id, **fields)
            self.ended(task_id)
        self.create(task_id="tenant-18", embedding_model_id="embed-500", object_ids=[f"obj-{number}" for number in range(260, 1_300)])
        self.create(task_id="import-rollback", object_ids=[f"obj-{number}" for number in range(2_000, 9_000)])
        self.call("PUT", "cancel", task_id="import-rollback")
        file.parent.mkdir(parents=True, exist_ok=True)
        self.open()
        self.browser.wait("the tasks are at work", lambda: re.search("processing.*deleted", self.row("tenant-18") or "", re.S))
        self.browser.driver.save_screenshot(str(file))

    STORIES = (
        what_the_policy_stops_is_noticed,
        the_example_from_pending_to_done_while_the_server_goes_and_comes_back,
        a_walk_by_keyboard_to_a_canceled_task,
        a_restart_says_what_it_will_do_and_what_has_changed_meanwhile,
        filters_are_in_the_address,
        of_two_states_of_a_task_the_newer_one_stays,
        what_lags_never_replaces_what_is_newer,
        dtask_console_lets_in_who_has_its_token_and_passes_calls_on,
        the_page_waits_as_it_is_told_and_while_nobody_sees_it,
        a_dialog_stays_while_its_call_is_under_way,
        a_row_goes_when_its_task_does,
        the_ages_are_those_of_the_server,
        the_list_with_tasks,
    )
