"""Signed calls to the deployed API."""

import json
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from account import REGION

ROOT = "/internal/deletion-tasks"


@dataclass
class Response:
    """A response of the API."""

    status: int
    headers: dict
    text: str

    @property
    def json(self):
        """The body."""
        return json.loads(self.text)


class Caller:
    """A caller of the API. Without credentials its calls are not signed."""

    def __init__(self, base, credentials=None):
        self.base = base
        self.credentials = credentials and Credentials(*credentials)

    def call(self, method, path, query=None, body=None, content_type="application/json"):
        """Makes one call. `path` follows the common root of the five calls, or is a whole path that
        begins with `//`."""
        path = path[1:] if path.startswith("//") else ROOT + path
        url = self.base + path
        if query:
            url += "?" + urllib.parse.urlencode(query, quote_via=urllib.parse.quote)
        headers = {}
        if body is not None:
            body = (body if isinstance(body, str) else json.dumps(body)).encode()
            headers["content-type"] = content_type
        request = AWSRequest(method=method, url=url, data=body, headers=headers)
        if self.credentials:
            SigV4Auth(self.credentials, "execute-api", REGION).add_auth(request)
        request = urllib.request.Request(url, data=body, headers=dict(request.headers), method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
                return Response(response.status, lower(response.headers), response.read().decode())
        except urllib.error.HTTPError as error:
            return Response(error.code, lower(error.headers), error.read().decode())

    def run(self, model, object_ids, task_id=None, **more):
        """Creates a task."""
        body = {"embedding_model_id": model, "object_ids": object_ids, **more}
        if task_id:
            body["task_id"] = task_id
        return self.call("POST", "/run", body=body)

    def info(self, task_id, **query):
        """Gets a task."""
        return self.call("GET", "/info", {"task_id": task_id, **query})

    def list(self, **query):
        """Gets a page of tasks."""
        return self.call("GET", "/list", query)

    def restart(self, task_id, **query):
        """Restarts a task."""
        return self.call("PUT", "/restart", {"task_id": task_id, **query})

    def cancel(self, task_id, **query):
        """Cancels a task."""
        return self.call("PUT", "/cancel", {"task_id": task_id, **query})


def lower(headers):
    """Header names in lower case."""
    return {name.lower(): value for name, value in headers.items()}
