"""The story of a list of a thousand tasks."""

import concurrent.futures

from console import WIDE, Console
from proxy import Proxy, without
from selenium.webdriver.common.keys import Keys


class Crowd(Console):
    """A thousand tasks of a runner without a worker."""

    def prepare(self):
        self.browser.size(*WIDE)
        self.start("--no-worker")
        self.create_all([f"task-{number:04}" for number in range(1000)])

    def a_thousand_tasks(self):
        with Proxy(self.api) as proxy:
            self.browser.size(1440, 12_000)
            self.open(origin=proxy.url)
            self.browser.wait("a screen that is higher than a page is filled", lambda: self.browser.run("return document.querySelectorAll('#rows tr').length") > 200)
            self.browser.size(*WIDE)
            self.browser.run("window.longest = 0; new PerformanceObserver(list => list.getEntries().forEach(({duration}) => longest = Math.max(longest, duration))).observe({type: 'longtask', buffered: true})")
            self.browser.wait("all are shown", lambda: self.browser.run("scrollTo(0, document.body.scrollHeight)") or "1,000 tasks. There are no others." in self.text("#list-end"))
            shown = self.browser.run("return [...document.querySelectorAll('#rows a')].map(link => link.textContent)")
            self.expect("each is shown once", sorted(shown) == [f"task-{number:04}" for number in range(1000)], len(shown))
            script = """
                const link = document.querySelectorAll("#rows a")[given[0]];
                link.scrollIntoView({block: "center"});
                link.focus();
                getSelection().selectAllChildren(link);
                window.changes = [];
                new MutationObserver(all => changes.push(...all)).observe(document.querySelector("#rows"), {childList: true});
                return [link.getBoundingClientRect().top, link.textContent];
            """
            # Tasks of the last seconds are read again, because the list may lag.
            self.browser.wait("the list has settled", lambda: not any("cursor=" in path for path in self.lists(proxy)[-2:]))
            top, name = self.browser.run(script, 700)
            calls = len(proxy.calls)
            self.create(task_id="newest")
            self.browser.wait("a new task is shown", lambda: self.row("newest"))
            self.browser.wait("the list is read twice", lambda: len([path for _, path in proxy.calls[calls:] if "list?" in path]) >= 2)
            reads = [path for _, path in proxy.calls[calls:]]
            self.expect("the pages further down are not read again", not [path for path in reads if "cursor=" in path], reads)
            self.expect("only what can be seen is read by itself", len({path for path in reads if "info?" in path}) < 40, len(reads))
            first = self.browser.run("return document.querySelector('#rows a').textContent")
            self.expect("a new task is one new row, at the top", first == "newest" and self.browser.run("return changes.length") == 1, first)
            state = self.browser.run("return [document.activeElement.textContent, String(getSelection())]")
            self.expect("the focus and the selection stay", state == [name, name], state)
            moved = self.browser.run("return document.activeElement.getBoundingClientRect().top") - top
            self.expect("what somebody reads does not move", abs(moved) < 1, moved)
            # The row above is within the window, but covered by the table's header.
            self.browser.run("scrollBy(0, document.activeElement.closest('tr').previousSibling.querySelector('a').getBoundingClientRect().top - 2)")
            self.press(Keys.SHIFT + Keys.TAB)
            is_seen = "const {left, top} = document.activeElement.getBoundingClientRect(); return document.elementFromPoint(left + 1, top + 1) === document.activeElement"
            self.expect("the head of the table covers no row that has the focus", self.browser.run(is_seen), self.focus()[:80])
            self.hide(True)
            self.create_all([f"late-{number:03}" for number in range(150)])
            proxy.change = without(*(f"late-{number:03}" for number in range(50)))
            self.hide(False)
            self.browser.wait("the newest tasks are shown", lambda: self.row("late-149"))
            proxy.change = lambda path, body: body
            self.browser.wait("those that the list had late are shown", lambda: self.row("late-000"))
            shown = self.browser.run("return [...document.querySelectorAll('#rows a')].map(link => link.textContent)")
            listed = [task["id"] for task in self.call("GET", "list", limit=200)["tasks"]]
            self.expect("more new tasks than a page has leave no gap", shown[:200] == listed and len(shown) == 1151, len(shown))
            longest = self.browser.run("return longest")
            self.expect("the page is never busy for long", longest < 500, f"{longest} ms")
            self.browser.driver.save_screenshot(str(self.screenshots / "a-thousand-tasks.png"))

    def create_all(self, task_ids):
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda task_id: self.create(task_id=task_id), task_ids))

    STORIES = (a_thousand_tasks,)
