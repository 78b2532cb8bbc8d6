"""A function that runs as in Lambda: a separate process, fed by a Runtime API ("Using the Lambda
runtime API for custom runtimes", AWS Lambda Developer Guide)."""

import json
import queue
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from processes import Failed

API = "/2018-06-01/runtime"
# The longest timeout of a function in template.yaml. After this time a function counts as not
# responding.
TIMEOUT = 60
PATIENCE = 70


class Function:
    """One process of a function, invoked many times."""

    def __init__(self, name, binary, variables, log):
        self.name = name
        self.log = log
        self.number = 0
        # At most one invocation is in flight, with its outcome.
        self.invocations, self.outcomes = queue.Queue(), queue.Queue()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler(self))
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        given = {
            "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{self.server.server_port}",
            "AWS_LAMBDA_FUNCTION_NAME": name,
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "256",
            "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
            "AWS_LAMBDA_LOG_GROUP_NAME": f"/aws/lambda/{name}",
            "AWS_LAMBDA_LOG_STREAM_NAME": "stream",
        }
        with open(log, "w") as output:
            self.process = subprocess.Popen([binary], env={**variables, **given}, stdout=output, stderr=subprocess.STDOUT)

    def invoke(self, event):
        """Invokes the function, and returns its response."""
        self.number += 1
        self.invocations.put(json.dumps(event).encode())
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                what, body = self.outcomes.get(timeout=0.5)
            except queue.Empty:
                continue
            if what != "response":
                raise Failed(f"{self.name} reports an error: {body}\n{self.log.read_text()}")
            return json.loads(body)
        raise Failed(f"{self.name} does not respond:\n{self.log.read_text()}")

    def stop(self):
        self.process.kill()
        self.process.wait(20)
        self.server.shutdown()


def handler(function):
    """The class that serves the Runtime API of a function."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            if self.path != f"{API}/invocation/next":
                return self.respond(404)
            event = function.invocations.get()
            self.respond(
                200,
                event,
                {
                    "Lambda-Runtime-Aws-Request-Id": f"8476a536-e9f4-11e8-9739-{function.number:012}",
                    "Lambda-Runtime-Deadline-Ms": str(int((time.time() + TIMEOUT) * 1000)),
                    "Lambda-Runtime-Invoked-Function-Arn": f"arn:aws:lambda:us-east-1:123456789012:function:{function.name}",
                },
            )

        def do_POST(self):
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if self.headers.get("Transfer-Encoding") == "chunked":
                body = self.chunks()
            function.outcomes.put((self.path.rsplit("/", 1)[-1], body.decode()))
            self.respond(202)

        def chunks(self):
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return body

        def respond(self, status, body=b"", headers=None):
            self.send_response(status)
            for name, value in {**(headers or {}), "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    return Handler
