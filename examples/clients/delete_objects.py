"""Deletes objects with a client that is generated from `docs/openapi.yaml`.

Prints what happened to each object.

    pip install openapi-python-client httpx attrs botocore
    openapi-python-client generate --path docs/openapi.yaml
    PYTHONPATH=deletion-tasks-client python examples/clients/delete_objects.py --api http://127.0.0.1:9000 embed-456 obj-1 obj-2

The URL of a deployed API is the stack's output `ApiUrl`. A call to it is signed with the credentials
that the AWS CLI would use. A call to this machine is signed only if `--region` is given.

The exit status is 0 if the task is done, and 1 if it failed or was canceled, or if the service
refused a call. An object of a task that is done need not have been deleted: its line says `failed`
and why, such as `Object not found in index`.

For more ids than a command line holds, import this file and call `connect`, `create`, `wait` and
`outcomes`. A request holds about 150,000 UUIDs.
"""

import argparse
import functools
import ipaddress
import sys
import time
import urllib.parse
import uuid
from collections.abc import Callable, Generator, Iterator
from typing import TypeVar

import httpx
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.session import Session
from deletion_tasks_client import Client
from deletion_tasks_client.api.deletion_tasks import create_deletion_task, get_deletion_task
from deletion_tasks_client.models import GetDeletionTaskOutcome, Item, Problem, RunRequest, Status, Task, TaskWithItems
from deletion_tasks_client.types import UNSET, Response

# The generated client adds this to the API's URL. The stack's output ends with it.
BASE_PATH = "/internal/deletion-tasks"
# Throttled, out of reach, and no response in time. It is safe to repeat the calls here: a create
# names its task, and the others change nothing.
BUSY = (429, 503, 504)
TRIES = 10

T = TypeVar("T")


class SigV4(httpx.Auth):
    """Signs requests for API Gateway with AWS Signature Version 4."""

    requires_request_body = True

    def __init__(self, region: str | None) -> None:
        session = Session()
        credentials = session.get_credentials()
        region = region or session.get_config_variable("region")
        if credentials is None or region is None:
            raise SystemExit("There are no AWS credentials, or no region: run `aws configure`, or set AWS_PROFILE")
        self.credentials, self.region = credentials, region

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        # httpx writes a space as `+`. In a signature a space is `%20`, and `+` is a plus sign.
        request.url = request.url.copy_with(query=request.url.query.replace(b"+", b"%20"))
        signed = AWSRequest(request.method, str(request.url), data=request.content)
        SigV4Auth(self.credentials.get_frozen_credentials(), "execute-api", self.region).add_auth(signed)
        request.headers.update(dict(signed.headers.items()))
        yield request


class Refused(Exception):
    """The service refused a call. `problem` says why."""

    def __init__(self, problem: Problem) -> None:
        places = [f"{error.pointer or error.parameter}: {error.detail}" for error in problem.errors or []]
        super().__init__("\n  ".join([f"{problem.status} {problem.title}: {problem.detail}", *places]))
        self.problem = problem


class Mismatch(Exception):
    """The task id belongs to another request."""


def connect(api: str, region: str | None = None) -> Client:
    """Returns a client of the API at this URL. With `region`, it always signs its calls."""
    api = api.rstrip("/").removesuffix(BASE_PATH)
    signs = region is not None or not is_loopback(urllib.parse.urlsplit(api).hostname or "")
    return Client(api, timeout=httpx.Timeout(35), httpx_args={"auth": SigV4(region)} if signs else {})


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def succeeded(call: Callable[[], Response[Problem | T]]) -> tuple[T, Response[Problem | T]]:
    """Makes a call, and repeats it while the service is busy.

    Returns the result, and the response with its headers. Raises `Refused`.
    """
    response = call()
    for _ in range(TRIES - 1):
        if response.status_code not in BUSY:
            break
        time.sleep(retry_after(response))
        response = call()
    result = response.parsed
    if result is None:
        raise SystemExit(f"This is not the API: its response is a {response.status_code}")
    if isinstance(result, Problem):
        raise Refused(result)
    return result, response


def retry_after(response: Response[T]) -> int:
    return int(response.headers.get("Retry-After", "1"))


def create(client: Client, request: RunRequest) -> tuple[Task, Response[Problem | Task]]:
    """Creates a task, or returns the existing one with its id. The request must name the id.

    Raises `Mismatch` if the existing one has another model or other objects: then those of the
    request are not deleted.
    """
    task, response = succeeded(functools.partial(create_deletion_task.sync_detailed, client=client, body=request))
    if "Idempotent-Mismatch" in response.headers:
        raise Mismatch(f"the task {task.id} exists, with another model or other objects: give another task id")
    return task, response


def wait(client: Client, task_id: str) -> TaskWithItems:
    """Returns the task after it has ended. The service says how long to wait between reads."""
    while True:
        task, response = succeeded(functools.partial(get_deletion_task.sync_detailed, client=client, task_id=task_id))
        if task.status not in (Status.PENDING, Status.PROCESSING):
            return task
        time.sleep(retry_after(response))


def outcomes(client: Client, task_id: str, outcome: GetDeletionTaskOutcome) -> Iterator[list[Item]]:
    """Yields what happened to each object, page by page."""
    info = functools.partial(get_deletion_task.sync_detailed, client=client, task_id=task_id, outcome=outcome)
    cursor: str | None = None
    while True:
        page, _ = succeeded(functools.partial(info, cursor=cursor or UNSET))
        yield page.items or []
        cursor = page.items_cursor or None
        if cursor is None:
            return


def main() -> bool:
    parser = argparse.ArgumentParser(description="Deletes objects, and prints what happened to each of them.")
    parser.add_argument("--api", required=True, help="the API's URL: http://127.0.0.1:9000, or the stack's output ApiUrl")
    parser.add_argument("--region", help="sign for this AWS region (default: that of your AWS settings)")
    parser.add_argument("--task-id", default=str(uuid.uuid4()), help="the task's name: a repeated call with it deletes nothing twice")
    parser.add_argument("--reason", help="why, such as a ticket")
    parser.add_argument("model", help="the embedding model, which names the index")
    parser.add_argument("object_id", nargs="+")
    options = parser.parse_args()

    with connect(options.api, options.region) as client:
        print(f"task {options.task_id}", file=sys.stderr)
        create(client, RunRequest(options.model, options.object_id, task_id=options.task_id, reason=options.reason))
        ended = wait(client, options.task_id)
        for page in outcomes(client, options.task_id, GetDeletionTaskOutcome.ALL):
            for item in page:
                print(item.object_id, item.outcome, item.detail or "", sep="\t")
    print(f"{ended.status}: {ended.progress.deleted} deleted, {ended.progress.failed} failed", file=sys.stderr)
    return ended.status == Status.DONE


if __name__ == "__main__":
    try:
        sys.exit(0 if main() else 1)
    except (Refused, Mismatch, httpx.TransportError) as error:
        sys.exit(f"error: {error}")
