"""IAM for the S3 Vectors server, which has none: the gate passes a call on if the worker's current
role allows it.

MiniStack's SimulatePrincipalPolicy decides based on the action and the index's ARN, as S3 Vectors
would.
"""

import json
import sys
import threading
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from account import REGION


class Gate:
    """The gate. It refuses all calls until `guard` sets the role."""

    def __init__(self, endpoint):
        self.behind = endpoint
        self.iam = None
        self.role_arn = None
        self.server = Server(("127.0.0.1", 0), handler(self))
        self.endpoint = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def guard(self, iam, role_arn):
        """Lets this role's policies decide from now on."""
        self.iam, self.role_arn = iam, role_arn

    def allows(self, action, bucket, index):
        """Whether the role may do this to this index."""
        if not self.role_arn:
            return False
        account = self.role_arn.split(":")[4]
        arn = f"arn:aws:s3vectors:{REGION}:{account}:bucket/{bucket}/index/{index}"
        simulated = self.iam.simulate_principal_policy(
            PolicySourceArn=self.role_arn, ActionNames=[f"s3vectors:{action}"], ResourceArns=[arn]
        )
        return simulated["EvaluationResults"][0]["EvalDecision"] == "allowed"

    def stop(self):
        """Stops the gate."""
        self.server.shutdown()
        self.server.server_close()


class Server(ThreadingHTTPServer):
    """A server that does not report connections broken by a killed worker."""

    daemon_threads = True

    def handle_error(self, request, client_address):
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


def handler(gate):
    """The class that serves the gate's connections."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            call = json.loads(body)
            if gate.allows(self.path.strip("/"), call.get("vectorBucketName"), call.get("indexName")):
                self.pass_on(body)
            else:
                self.respond(403, json.dumps({"message": "Access denied"}).encode(), {"x-amzn-ErrorType": "AccessDeniedException"})

        def pass_on(self, body):
            headers = {name: self.headers[name] for name in ("content-type", "authorization", "x-amz-date") if self.headers[name]}
            request = urllib.request.Request(gate.behind + self.path, data=body, headers=headers, method="POST")
            try:
                with urllib.request.urlopen(request, timeout=30) as response:
                    self.respond(response.status, response.read(), response.headers)
            except urllib.error.HTTPError as error:
                self.respond(error.code, error.read(), error.headers)

        def respond(self, status, body, headers):
            self.send_response(status)
            for name, value in headers.items():
                if name.lower() in ("content-type", "x-amzn-errortype"):
                    self.send_header(name, value)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    return Handler
