"""Rules of the store protocol that OpenAPI cannot express. With them the requests that Schemathesis
generates as valid are really valid."""

import datetime

import schemathesis


@schemathesis.hook
def before_call(context, case, kwargs):
    body = case.body
    if isinstance(body, dict) and "not_after" in body:
        now = datetime.datetime.now(datetime.timezone.utc)
        body["not_after"] = (now + datetime.timedelta(seconds=9)).isoformat()
    # Otherwise a request would hardly ever name the existing index.
    if isinstance(body, dict) and len(body["ids"]) % 2 == 0:
        body["index"] = "embed-456"
