"""Rules that OpenAPI cannot express. With them the requests that Schemathesis generates as valid
are really valid.

Requests that are meant to be refused stay as generated.
"""

import datetime

import schemathesis
from schemathesis.specs.openapi import stateful

MAX_LISTED_FAILURES = 10
# The parameters that a cursor is bound to.
LISTING = ("task_id", "outcome", "status", "embedding_model_id", "created_after", "created_before")
# The cursors of earlier responses, by their query.
GIVEN = {}
# The title of each status, in the document's examples.
TITLES = {}

# From `embedding_model_id` Schemathesis infers that another call must create a model first. It
# finds no such call, so it would begin no sequence with `run`. Without the inferred link it decides
# by the method.
likely_root = stateful.is_likely_root_transition
stateful.is_likely_root_transition = lambda operation, _inferred, produced: likely_root(operation, None, produced)


@schemathesis.hook
def before_load_schema(context, raw_schema):
    # The local runner accepts unsigned requests.
    del raw_schema["security"]
    TITLES.update(titles(raw_schema))


@schemathesis.hook
def before_call(context, case, kwargs):
    if case.meta is None or case.meta.generation.mode.is_negative:
        return
    query = case.query or {}
    # A cursor cannot be generated: it comes from the last response to the same query.
    if "cursor" in query and query["cursor"] not in GIVEN.get(listing(case), ()):
        del query["cursor"]
    # The second time must be later.
    times = [seconds(query[name]) for name in ("created_after", "created_before") if name in query]
    if None in times or (len(times) == 2 and times[0] + 1 > times[1]):
        query.pop("created_after", None)
        query.pop("created_before", None)
    limits = {"task_id": 255, "embedding_model_id": 128, "reason": 256}
    for container in (query, case.body if isinstance(case.body, dict) else {}):
        for name, limit in limits.items():
            if isinstance(container.get(name), str):
                container[name] = shortened(container[name], limit)
    if isinstance(case.body, dict):
        case.body["object_ids"] = [shortened(text, 1024) for text in case.body["object_ids"]]


@schemathesis.hook
def after_call(context, case, response):
    if response.status_code == 200:
        body = response.json()
        cursor = body.get("items_cursor") or body.get("next_cursor")
        if cursor is not None:
            GIVEN.setdefault(listing(case), set()).add(cursor)


@schemathesis.check
def error_is_that_of_its_status(context, response, case):
    """Checks what the single schema of all errors leaves open. It is a single one so that generated
    clients have one type for errors."""
    if response.status_code == 200:
        return
    problem = response.json()
    status = response.status_code
    assert (problem["status"], problem["title"]) == (status, TITLES.get(status)), problem
    assert ("errors" in problem) == (status == 422), problem
    for error in problem.get("errors", []):
        assert ("pointer" in error) != ("parameter" in error), error


@schemathesis.check
def list_shows_few_failures(context, response, case):
    """Checks the number of failures in a list row. The schema of a task allows as many as `/info`
    shows."""
    if response.status_code == 200:
        for task in response.json().get("tasks", []):
            assert len(task["failed_item_ids"]) <= MAX_LISTED_FAILURES, task["id"]


def titles(value):
    """The status and the title of every example error below a value."""
    if isinstance(value, list):
        return [found for inner in value for found in titles(inner)]
    if not isinstance(value, dict):
        return []
    if isinstance(value.get("status"), int) and "title" in value:
        return [(value["status"], value["title"])]
    return [found for inner in value.values() for found in titles(inner)]


def listing(case):
    query = case.query or {}
    return (case.path, *(query.get(name) for name in LISTING))


def seconds(text):
    """A time in seconds since 1970. None for a year that Python does not know, or for a leap
    second."""
    try:
        return datetime.datetime.fromisoformat(text.upper()).timestamp()
    except (OverflowError, ValueError):
        return None


def shortened(text, limit):
    """The start of a text that fits in this many bytes. (maxLength counts characters.)"""
    return text.encode()[:limit].decode(errors="ignore")
