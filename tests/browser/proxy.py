"""A server in front of the runner in some stories. It passes requests on, and fails on demand."""

import http.server
import json
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

from stories import API

PROBLEM = {"Content-Type": "application/problem+json"}


class Proxy:
    """Passes requests on to a runner.

    `change` gets a path and the body of a successful response, and returns the body to respond
    with. `gone` has the ids of tasks that the proxy reports as absent. `calls` has the time and the
    path of each call. `refusals` has the refusals that are still to come.
    """

    def __init__(self, runner):
        self.runner = runner
        self.refusals = []
        self.gone = set()
        self.change = lambda path, body: body
        self.calls = []
        self.held = None
        proxy = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                proxy.respond(self)

            do_PUT = do_GET

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.server.shutdown()

    def refuse(self, *refusals, to=""):
        """Refuses the next calls whose path contains `to`. Each refusal is a status and headers."""
        self.refusals = [(to, *refusal) for refusal in refusals]

    def hold(self, part):
        """Holds the responses to calls whose path contains `part`, until the returned function is
        called."""
        released = threading.Event()
        self.held = part, released
        return released.set

    def respond(self, request):
        status, headers, body = self.response(request)
        request.send_response(status)
        for name, value in headers.items():
            if name.lower() not in ("content-length", "date", "connection"):
                request.send_header(name, value)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)

    def response(self, request):
        is_call = request.path.startswith(API)
        if is_call:
            self.calls.append((time.monotonic(), request.path))
            if set(urllib.parse.parse_qs(request.path.partition("?")[2]).get("task_id", ())) & self.gone:
                return 404, PROBLEM, b'{"detail": "Task not found"}'
            if self.refusals and self.refusals[0][0] in request.path:
                _, status, headers = self.refusals.pop(0)
                return status, {**PROBLEM, **headers}, b'{"detail": "Too many calls at once; try again"}'
            if self.held and self.held[0] in request.path:
                self.held[1].wait(20)
        passed_on = urllib.request.Request(self.runner + request.path, method=request.command)
        try:
            with urllib.request.urlopen(passed_on, timeout=20) as response:
                body = response.read()
                return response.status, dict(response.headers), self.change(request.path, body) if is_call else body
        except urllib.error.HTTPError as error:
            return error.code, dict(error.headers), error.read()


def without(*task_ids):
    """A `change` for a proxy that removes some tasks from lists."""

    def change(path, body):
        page = json.loads(body)
        if path.startswith(f"{API}list"):
            page["tasks"] = [task for task in page["tasks"] if task["id"] not in task_ids]
        return json.dumps(page).encode()

    return change
