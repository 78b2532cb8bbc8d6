"""The HTTP half of a bridge, which puts a store behind the store protocol (docs/store-protocol.md).

It needs only Python. A bridge is a `Store` and one call of `serve`. The server of `serve` has a
thread for each connection; put it behind TLS. Alternatively, `function_url` makes the handler of a
Lambda function, and AWS runs the server.
"""

from __future__ import annotations

import base64
import datetime
import hmac
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal, Protocol

Outcome = Literal["gone", "kept", "more", "unconfirmed"]

# The time limit of a call to a store. No delete begins so late that it could end after `not_after`.
STORE_SECONDS = 3
# A request has at most 500 ids of 1,024 bytes, and JSON may write each byte as six.
MAX_REQUEST = 8 * 1024 * 1024


class IndexMissing(Exception):
    """There is no such index."""


class Throttled(Exception):
    """The store asks to go slower."""


@dataclass
class Presence:
    """Which ids are there, and why the store can never hold some ids, by their positions."""

    present: list[bool]
    refused: dict[int, str] = field(default_factory=dict)


class Store(Protocol):
    """The calls of a bridge to its store."""

    def present(self, index: str, ids: Sequence[str]) -> Presence:
        """Says which of these ids are there, by a current read."""

    def delete(self, index: str, ids: Sequence[str], begin: Callable[[], None]) -> list[Outcome]:
        """Deletes these ids, and says of each what a current read finds afterwards.

        It calls `begin` just before the delete itself. `begin` fails if it is too late.
        """


def serve(store: Store, port: int, token: str | None = None, host: str = "127.0.0.1") -> None:
    """Serves the protocol until the process ends. `token`: the token that callers must send."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # Sends a response at once: the kernel might delay a body that is sent after its head.
        wbufsize = -1

        def do_POST(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            if length > MAX_REQUEST:
                self.close_connection = True
                status, body = 413, problem(413, "The request is too large")
            else:
                headers = {name.lower(): value for name, value in self.headers.items()}
                status, body = respond(store, self.path, headers, self.rfile.read(length), token)
            text = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", content_type(status))
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_: Any) -> None:
            """Logs nothing, since a path and a status say little."""

    ThreadingHTTPServer((host, port), Handler).serve_forever()


def function_url(store: Store, token: str | None = None) -> Callable[[dict[str, Any], object], dict[str, Any]]:
    """Makes a Lambda handler that serves the protocol behind a function URL.

    See "Invoking Lambda function URLs" in the AWS Lambda Developer Guide.
    """

    def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
        given = event.get("body") or ""
        given = base64.b64decode(given) if event.get("isBase64Encoded") else given.encode()
        if event["requestContext"]["http"]["method"] == "POST":
            status, body = respond(store, event["rawPath"], event["headers"], given, token)
        else:
            status, body = 405, problem(405, "The store protocol has only POST")
        return {"statusCode": status, "headers": {"Content-Type": content_type(status)}, "body": json.dumps(body)}

    return handler


def respond(store: Store, path: str, headers: Mapping[str, str], given: bytes, token: str | None) -> tuple[int, dict[str, Any]]:
    """Returns the status and the body for a `POST`. The headers' names are in lower case."""
    try:
        if token is not None:
            sent = headers.get("authorization", "").encode()
            if not hmac.compare_digest(sent, f"Bearer {token}".encode()):
                raise Invalid(401, "The token is wrong")
        if headers.get("deletion-tasks-protocol") != "1":
            raise Invalid(400, "This bridge speaks version 1 of the store protocol")
        index, ids, not_after = read(given)
        match path.rsplit("/", 1)[-1]:
            case "present":
                presence = store.present(index, ids)
                refused = [{"position": at, "detail": why} for at, why in presence.refused.items()]
                return 200, {"present": presence.present, "refused": refused}
            case "delete":
                if not_after is None:
                    raise Invalid(400, "`not_after` is missing")
                latest = not_after - datetime.timedelta(seconds=STORE_SECONDS)
                return 200, {"outcomes": store.delete(index, ids, lambda: check_time(latest))}
            case _:
                raise Invalid(404, "There is no such call")
    except IndexMissing:
        return 404, problem(404, "No such index", "https://deletion-tasks.example/index-missing")
    except Throttled:
        return 429, problem(429, "Too many requests")
    except Invalid as invalid:
        return invalid.status, problem(invalid.status, str(invalid))
    except Exception as error:  # the store failed: the worker tries again
        print(f"{path}: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
        return 503, problem(503, "The store failed")


class Invalid(Exception):
    """A request that is refused with this status."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status


def read(given: bytes) -> tuple[str, list[str], datetime.datetime | None]:
    """Parses a request: index, ids, and the time after which a delete must not take effect."""
    try:
        request = json.loads(given)
        index, ids = request["index"], request["ids"]
        not_after = request.get("not_after")
        time = None if not_after is None else datetime.datetime.fromisoformat(not_after)
    except (AttributeError, KeyError, TypeError, ValueError):
        raise Invalid(400, "The body is not a request of the store protocol") from None
    if not isinstance(index, str) or not isinstance(ids, list) or not all(isinstance(one, str) for one in ids):
        raise Invalid(400, "`index` must be a string and `ids` a list of strings")
    if time is not None and time.tzinfo is None:
        raise Invalid(400, "`not_after` must have an offset")
    return index, ids, time


def check_time(latest: datetime.datetime) -> None:
    """Fails if the latest time at which a delete may begin has passed."""
    if datetime.datetime.now(datetime.timezone.utc) > latest:
        raise Invalid(503, "It is too late to begin this delete")


def problem(status: int, detail: str, kind: str = "about:blank") -> dict[str, Any]:
    """An error (RFC 9457)."""
    return {"type": kind, "status": status, "title": detail, "detail": detail}


def content_type(status: int) -> str:
    """The content type of a response with this status."""
    return "application/json" if status == 200 else "application/problem+json"
