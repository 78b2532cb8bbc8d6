"""A bridge over a store in memory. Its index `embed-456` holds every id until that id is deleted.

`bridge_in_memory.py serve PORT` starts it as a server, `bridge_in_memory.py function_url PORT` as a
Lambda function behind a function URL.
"""

import http.server
import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "examples/bridges"))
from bridge import IndexMissing, Presence, function_url, serve  # noqa: E402

NO_SPACES = "This store's ids have no spaces"


class Memory:
    def __init__(self):
        self.deleted = set()

    def present(self, index, ids):
        self.find(index)
        refused = {at: NO_SPACES for at, one in enumerate(ids) if " " in one}
        return Presence([one not in self.deleted for one in ids], refused)

    def delete(self, index, ids, begin):
        self.find(index)
        begin()
        self.deleted.update(ids)
        return ["gone"] * len(ids)

    @staticmethod
    def find(index):
        if index != "embed-456":
            raise IndexMissing


class FunctionUrl(http.server.BaseHTTPRequestHandler):
    """Makes an event from a request, and a response from what the handler returns, as a function
    URL does (payload format 2.0)."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1
    handler = staticmethod(function_url(Memory()))

    def invoke(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        event = {
            "version": "2.0",
            "rawPath": self.path,
            "headers": {name.lower(): value for name, value in self.headers.items()},
            "requestContext": {"http": {"method": self.command, "path": self.path}},
            "body": body,
            "isBase64Encoded": False,
        }
        result = self.handler(event, None)
        text = result["body"].encode()
        self.send_response(result["statusCode"])
        for name, value in result["headers"].items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_GET = do_POST = invoke

    def log_message(self, *_):
        pass


if __name__ == "__main__":
    front, port = sys.argv[1], int(sys.argv[2])
    if front == "serve":
        serve(Memory(), port)
    http.server.ThreadingHTTPServer(("127.0.0.1", port), FunctionUrl).serve_forever()
