"""The calls of a typical caller, with the generated client and the functions of examples/clients:
`story.py API`.

The index `embed-456` holds `obj-1` and `obj-3` to `obj-1000`. The model `slow` has the same index
and a slow pace.
"""

import datetime
import sys
from collections.abc import Callable
from functools import partial
from http import HTTPStatus

from delete_objects import Mismatch, Refused, connect, create, outcomes, succeeded, wait
from deletion_tasks_client import Client
from deletion_tasks_client.api.deletion_tasks import (
    cancel_deletion_task,
    create_deletion_task,
    get_deletion_task,
    list_deletion_tasks,
    restart_deletion_task,
)
from deletion_tasks_client.models import (
    GetDeletionTaskOutcome,
    ItemOutcome,
    ListedTask,
    Problem,
    RestartDeletionTaskScope,
    RunRequest,
    Status,
)
from deletion_tasks_client.types import UNSET, Response, Unset

OBJECTS = [f"obj-{number}" for number in range(1, 2501)]
PRESENT = {f"obj-{number}" for number in range(1, 1001)} - {"obj-2"}
NOT_FOUND = "Object not found in index"


def main(api: str) -> None:
    began = datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0)
    with connect(api) as client:
        create_and_repeat(client)
        every_outcome(client)
        restart_and_cancel(client)
        list_by_filters(client, began)
        typed_errors(client)
    repeat_while_busy()
    print("The story ended as it should.")


def create_and_repeat(client: Client) -> None:
    request = RunRequest("embed-456", OBJECTS, task_id="story", reason="Ticket 4711")
    task, response = create(client, request)
    assert (task.id, task.reason, task.attempt, task.progress.total) == ("story", "Ticket 4711", 1, 2500), task
    assert task.created_by is None and task.created_at.utcoffset() == datetime.timedelta(0), task
    assert "Idempotent-Replayed" not in response.headers

    again, response = create(client, request)
    assert again.created_at == task.created_at, again
    assert response.headers["Idempotent-Replayed"] == "true" and "Idempotent-Mismatch" not in response.headers

    try:
        create(client, RunRequest("embed-456", ["obj-1"], task_id="story"))
    except Mismatch:
        pass
    else:
        raise AssertionError("the task of other objects passes for that of these")

    named, _ = succeeded(partial(create_deletion_task.sync_detailed, client=client, body=RunRequest("embed-456", ["absent"])))
    assert len(named.id) == 36, named
    assert wait(client, named.id).failed_item_ids[0].detail == NOT_FOUND


def every_outcome(client: Client) -> None:
    task = wait(client, "story")
    assert task.status is Status.DONE and isinstance(task.items, Unset), task
    assert (task.progress.deleted, task.progress.failed, task.progress.remaining) == (999, 1501, 0), task.progress
    assert len(task.failed_item_ids) == 1000 and task.failed_item_ids[0].object_id == "obj-2"

    pages = list(outcomes(client, "story", GetDeletionTaskOutcome.ALL))
    assert len(pages) >= 3, [len(page) for page in pages]
    items = [item for page in pages for item in page]
    assert [item.object_id for item in items] == OBJECTS
    for item in items:
        if item.object_id in PRESENT:
            assert (item.outcome, item.detail) == (ItemOutcome.DELETED, None), item
        else:
            assert (item.outcome, item.detail) == (ItemOutcome.FAILED, NOT_FOUND), item
    deleted = [item.object_id for page in outcomes(client, "story", GetDeletionTaskOutcome.DELETED) for item in page]
    assert set(deleted) == PRESENT and len(deleted) == 999


def restart_and_cancel(client: Client) -> None:
    restart = partial(restart_deletion_task.sync_detailed, client=client)
    cancel = partial(cancel_deletion_task.sync_detailed, client=client)

    task, _ = succeeded(partial(restart, task_id="story", attempt=1))
    assert (task.attempt, task.progress.deleted) == (2, 999), task
    assert wait(client, "story").attempt == 2

    create(client, RunRequest("slow", OBJECTS, task_id="slow"))
    shown, response = succeeded(partial(get_deletion_task.sync_detailed, client=client, task_id="slow"))
    assert shown.status in (Status.PENDING, Status.PROCESSING), shown
    assert 1 <= int(response.headers["Retry-After"]) <= 30
    canceled, _ = succeeded(partial(cancel, task_id="slow", attempt=1))
    assert canceled.status is Status.CANCELED and canceled.progress.remaining > 0, canceled
    restarted, _ = succeeded(partial(restart, task_id="slow", scope=RestartDeletionTaskScope.ALL))
    assert (restarted.status, restarted.attempt) == (Status.PENDING, 2), restarted
    canceled, _ = succeeded(partial(cancel, task_id="slow", attempt=2))
    assert canceled.status is Status.CANCELED, canceled


def list_by_filters(client: Client, began: datetime.datetime) -> None:
    pages = partial(list_deletion_tasks.sync_detailed, client=client)

    def walk(**filters: object) -> list[ListedTask]:
        tasks: list[ListedTask] = []
        cursor: str | None | Unset = UNSET
        while cursor is not None:
            page, _ = succeeded(partial(pages, **filters, cursor=cursor))
            tasks += page.tasks
            cursor = page.next_cursor
        return tasks

    assert [task.id for task in walk(embedding_model_id="slow")] == ["slow"]
    assert walk(embedding_model_id="a model + with spaces") == []
    assert [task.id for task in walk(status=Status.CANCELED)] == ["slow"]
    done = walk(status=Status.DONE, limit=1)
    assert "story" in [task.id for task in done] and len({task.id for task in done}) == len(done) == 2, done
    assert all(len(task.failed_item_ids) <= 10 for task in done)
    east = datetime.timezone(datetime.timedelta(hours=9))
    assert len(walk(created_after=began.astimezone(east))) == 3
    assert walk(created_before=began) == []


def typed_errors(client: Client) -> None:
    def refused(call: Callable[[], object], status: int) -> Problem:
        try:
            call()
        except Refused as error:
            assert error.problem.status == status, error
            return error.problem
        raise AssertionError(f"{call} is not refused with a {status}")

    problem = refused(lambda: wait(client, "nobody"), 404)
    assert problem.detail == "Task with ID `nobody` not found" and isinstance(problem.errors, Unset), problem
    cancel = partial(cancel_deletion_task.sync_detailed, client=client, task_id="story")
    assert "already done" in refused(lambda: succeeded(cancel), 409).detail
    assert "attempt" in refused(lambda: succeeded(partial(cancel, attempt=1)), 409).detail

    problem = refused(lambda: create(client, RunRequest("", ["obj-1", ""], task_id="a b")), 422)
    assert not isinstance(problem.errors, Unset)
    assert {error.pointer for error in problem.errors} == {"/embedding_model_id", "/object_ids/1", "/task_id"}, problem
    assert all(isinstance(error.parameter, Unset) and error.detail for error in problem.errors), problem
    limited = partial(list_deletion_tasks.sync_detailed, client=client, limit=0)
    problem = refused(lambda: succeeded(limited), 422)
    assert not isinstance(problem.errors, Unset)
    assert [error.parameter for error in problem.errors] == ["limit"], problem


def repeat_while_busy() -> None:
    problem = Problem("about:blank", "Service Unavailable", 503, "The task store is busy")
    busy: Response[Problem | str] = Response(HTTPStatus.SERVICE_UNAVAILABLE, b"", {"Retry-After": "0"}, problem)
    done: Response[Problem | str] = Response(HTTPStatus.OK, b"", {}, "done")
    responses = iter([busy, busy, done])
    assert succeeded(lambda: next(responses))[0] == "done"
    calls = iter([busy] * 100)
    try:
        succeeded(lambda: next(calls))
    except Refused as error:
        assert error.problem is problem and len(list(calls)) == 90
    else:
        raise AssertionError("a service that stays busy is no success")


if __name__ == "__main__":
    main(sys.argv[1])
