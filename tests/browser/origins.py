"""Tests what a page of another origin can do to `cargo run`.

Everything is on loopback: the runner, a server with a page of another origin, and the browser. As
after DNS rebinding, the browser resolves `evil.example` and `allowed.example` to this machine.
"""

import http.server
import json
import threading
import urllib.request

from stories import API, EXAMPLE, Stories


class Page(http.server.BaseHTTPRequestHandler):
    """A page of another origin, whose query is its body."""

    def do_GET(self):
        body = urllib.request.unquote(self.path.partition("?")[2]).encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.end_headers()
        self.wfile.write(b"<!doctype html><title>elsewhere</title>" + body)

    def log_message(self, *_):
        pass


class Origins(Stories):
    """One runner, and one other origin."""

    def prepare(self):
        service = self.start("--allow-host", "allowed.example")
        self.listeners = {name.removeprefix("AWS_ENDPOINT_URL_"): url for name, url in service.items()}
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.elsewhere = f"http://127.0.0.1:{server.server_port}"

    def afterwards(self):
        """Checks nothing after these stories, because their pages do what a policy is meant to
        stop."""

    def visit(self, body="", origin=None):
        self.browser.open(f"{origin or self.elsewhere}/?{urllib.request.quote(body)}")

    def has_task(self, name):
        return name in [task["id"] for task in self.call("GET", "list")["tasks"]]

    def table(self):
        """All items, read as by a program that knows DynamoDB's address."""
        headers = {
            "Content-Type": "application/x-amz-json-1.0",
            "X-Amz-Target": "DynamoDB_20120810.Scan",
            "X-Amz-Date": "20240521T120000Z",
            "Authorization": "AWS4-HMAC-SHA256 Credential=any/20240521/us-east-1/dynamodb/aws4_request, "
            "SignedHeaders=host;x-amz-date, Signature=any",
        }
        request = urllib.request.Request(self.listeners["DYNAMODB"], b'{"TableName": "deletion-tasks"}', headers)
        with urllib.request.urlopen(request, timeout=20) as response:
            return json.load(response)["Items"]

    def a_page_of_another_origin_reads_and_changes_nothing(self):
        """Makes fetches of every kind to each listener, from a page of another origin."""
        self.create(task_id="kept")
        for origin in (self.elsewhere, self.elsewhere.replace("127.0.0.1", "localhost"), self.elsewhere.replace("127.0.0.1", "evil.example")):
            self.visit(origin=origin)
            self.ended("kept")
            for name, address in self.listeners.items():
                before = self.table()
                self.expect("a program reads the table", before != [])
                seen = []
                for mode in ("cors", "no-cors"):
                    for kind in ("", "text/plain", "application/json", "application/x-amz-json-1.0"):
                        script = """
                            const [url, mode, type, body, target] = given;
                            const headers = mode === "cors" && target ? {"x-amz-target": target} : {};
                            const response = await fetch(url, {method: "POST", mode, headers, body: new Blob([body], {type})});
                            return response.type + " " + response.status + " " + await response.text();
                        """
                        path = f"{API}run" if name == "API" else "/"
                        body = json.dumps({**EXAMPLE, "task_id": "evil"} if name == "API" else {"TableName": "deletion-tasks"})
                        target = {"DYNAMODB": "DynamoDB_20120810.Scan", "SQS": "AmazonSQS.ListQueues"}.get(name)
                        seen.append(self.browser.run(script, address + path, mode, kind, body, target))
                reads = [one for one in seen if not one.startswith(("error:", "opaque 0 "))]
                self.expect(f"a page of {origin} reads nothing of {name}", not reads, reads)
                self.expect(f"a page of {origin} changes nothing by {name}", self.table() == before and not self.has_task("evil"), seen)

    def forms_and_frames_of_another_origin_are_refused(self):
        form = f'<form method=post enctype=text/plain action="{self.api}{API}run"><input name=\'{{"embedding_model_id":"embed-456","task_id":"form","object_ids":["obj-1"],"x":"\' value=\'"}}\'><button>go</button></form>'
        self.visit(form)
        self.browser.follow("button")
        self.expect("a form of another origin is refused", "Forbidden" in self.browser.text(), self.browser.text())
        self.expect("a form of another origin creates nothing", not self.has_task("form"))
        for page in ("/", "/docs"):
            self.visit(f'<iframe src="{self.api}{page}"></iframe><img src="{self.api}{page}"><script src="{self.api}/console/main.js"></script>')
            shown = self.browser.run("return [...document.querySelectorAll('iframe')].map(f => { try { return f.contentDocument?.title } catch (e) { return 'closed' } })")
            self.expect(f"a frame of {page} shows no page", "Deletion Tasks" not in str(shown), shown)
            self.browser.driver.switch_to.frame(self.browser.one("iframe"))
            seen = self.browser.driver.page_source
            self.expect(f"a frame of {page} shows a refusal", "Deletion Tasks" not in seen, seen[:200])
            self.browser.driver.switch_to.default_content()

    def a_person_may_follow_a_link_to_a_page(self):
        for page in ("/", "/docs"):
            self.visit(f'<a href="{self.api}{page}">a page</a>')
            self.browser.follow("a")
            self.expect(f"a person follows a link to {page}", "Deletion Tasks" in self.browser.driver.title, self.browser.text()[:200])
        # The browser shows an API response as a page. Unlike the console's, this page has no policy
        # that forbids calls.
        self.browser.open(f"{self.api}{API}list")
        script = """
            const response = await fetch(given[0], {method: "POST", headers: {"content-type": "application/json"}, body: given[1]});
            return response.status + " " + await response.text();
        """
        seen = self.browser.run(script, f"{API}run", json.dumps({**EXAMPLE, "task_id": "own-page"}))
        self.expect("the page's own scripts call the API", seen.startswith("200 ") and self.has_task("own-page"), seen)
        seen = self.browser.run(script, self.listeners["DYNAMODB"], "{}")
        self.expect("they reach no other port", seen.startswith("error:"), seen)
        self.visit(f'<a href="{self.api}{API}list">a list</a>')
        self.browser.follow("a")
        self.expect("a link leads to no other path", "Forbidden" in self.browser.text(), self.browser.text()[:200])
        self.browser.open(f"{self.api}{API}list")
        self.expect("an address that a person types is served", '"tasks"' in self.browser.text(), self.browser.text()[:200])

    def other_names_of_this_machine_are_refused(self):
        """Uses other names that resolve to this machine, as after DNS rebinding."""
        for name, address in self.listeners.items():
            port = address.rpartition(":")[2]
            self.browser.open(f"http://evil.example:{port}/")
            seen = self.browser.text()
            self.expect(f"{name} refuses another name", "--allow-host evil.example" in seen, seen[:200])
        port = self.api.rpartition(":")[2]
        self.browser.open(f"http://allowed.example:{port}/")
        seen = self.browser.driver.title
        self.expect("the API accepts an allowed name", seen == "Deletion Tasks", seen)

    STORIES = (
        a_page_of_another_origin_reads_and_changes_nothing,
        forms_and_frames_of_another_origin_are_refused,
        a_person_may_follow_a_link_to_a_page,
        other_names_of_this_machine_are_refused,
    )
