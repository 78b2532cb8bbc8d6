"""What OpenAPI has no words for, so that a request that Schemathesis takes for valid is valid.

Only requests that are meant to be valid are touched. What is meant to be refused goes out as it was made.
"""

import schemathesis
from schemathesis.specs.openapi import stateful

# The cursors that answers gave, by the listing that each belongs to.
GIVEN = {}

# It takes `embedding_model_id` for the name of something that another call creates, finds no such call, and would begin no sequence with
# `run`. Without what it inferred it goes by the method.
likely_root = stateful.is_likely_root_transition
stateful.is_likely_root_transition = lambda operation, _inferred, produced: likely_root(operation, None, produced)


@schemathesis.hook
def before_load_schema(context, raw_schema):
    # The service on one machine takes unsigned requests.
    del raw_schema["security"]


@schemathesis.hook
def before_call(context, case, kwargs):
    if case.meta is None or case.meta.generation.mode.is_negative:
        return
    query = case.query or {}
    # A cursor cannot be made up: it comes from the last answer, and belongs to its query.
    if "cursor" in query and query["cursor"] not in GIVEN.get(listing(case), ()):
        del query["cursor"]
    limits = {"task_id": 255, "embedding_model_id": 128}
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


def listing(case):
    query = case.query or {}
    return (case.path, *(query.get(name) for name in ("task_id", "outcome", "status", "embedding_model_id")))


def shortened(text, limit):
    """As much of a text as fits in so many bytes; maxLength counts characters."""
    return text.encode()[:limit].decode(errors="ignore")
