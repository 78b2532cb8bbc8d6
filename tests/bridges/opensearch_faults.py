"""Checks the responses of the OpenSearch bridge if OpenSearch fails, and for indices and fields
that it must not use. OpenSearch's responses are the emulator's, some of them changed by the test
case."""

import contextlib
import datetime
import io
import json
import logging
import socket
import threading

import osmem_server
from opensearchpy.exceptions import ConnectionTimeout, TransportError

# This import comes first, because it adds the folder of the bridges to the path.
from opensearch_emulated import Transport
from bridge import respond
from opensearch_bridge import PAGE, OpenSearch, connect

HEADERS = {"deletion-tasks-protocol": "1"}
KEYWORD = {"type": "keyword"}


class Faulty(Transport):
    """Passes each request to `fault`, with a function that sends it on."""

    fault = None

    def perform_request(self, method, url, params=None, body=None, **options):
        def send():
            return super(Faulty, self).perform_request(method, url, params, body, **options)

        return self.fault(url.rsplit("/", 1)[-1], send) if self.fault else send()


def main():
    with osmem_server.OsmemServer.start(japanese=False) as server:
        for check in (
            no_read_of_some_shards,
            throttled_denied_and_slow,
            items_that_fail,
            what_is_acknowledged_and_kept,
            what_has_changed_since_it_was_read,
            an_object_of_many_documents,
            an_id_that_is_too_long,
            names_of_no_index,
            fields_that_do_not_hold_ids,
        ):
            for field in (None, "object_id"):
                with server.clone() as clone:
                    client = connect(clone.url, transport_class=Faulty)
                    client.indices.create(index="i", body=settings({"object_id": KEYWORD}))
                    check(client, OpenSearch(client, field))
            print(f"holds   {check.__name__.replace('_', ' ')}", flush=True)
    nothing_is_sent_twice()
    print("holds   nothing is sent twice", flush=True)


def no_read_of_some_shards(client, store):
    insert(client, "a", "b")
    for call, change in (
        ("_search", lambda response: response["_shards"].update(successful=2)),
        ("_search", lambda response: response.update(timed_out=True)),
        ("_refresh", lambda response: response["_shards"].update(failed=1)),
    ):
        with changed(client, call, change):
            expect(present(store, "a"), (503,))
            expect(delete(store, "a"), (503,))
        # The same if the read after the delete fails, because then nothing says that the object is
        # gone.
        insert(client, "c")
        with changed(client, call, change, after="_bulk"):
            expect(delete(store, "c"), (503,))
    expect(present(store, "a", "b"), (200, [True, True]))


def throttled_denied_and_slow(client, store):
    insert(client, "a")
    for error, status in (
        (TransportError(429, "rejected_execution_exception", {}), 429),
        (TransportError(401, "security_exception", {}), 403),
        (TransportError(403, "security_exception", {}), 403),
        (TransportError(404, "resource_not_found_exception", {}), 503),
        (TransportError(404, "index_not_found_exception", {}), 404),
        (ConnectionTimeout("TIMEOUT", "timed out", TimeoutError()), 503),
    ):
        for call in ("_refresh", "_search", "_bulk"):
            with failing(client, call, error):
                expect(delete(store, "a"), (status,))
                expect(present(store, "a"), (200, [True]) if call == "_bulk" else (status,))


def items_that_fail(client, store):
    """With a status of 429 or 5xx OpenSearch has not tried the delete."""
    for item, status in ((429, 429), (503, 503)):
        insert(client, "a", "b")
        with instead(client, "_bulk", lambda: {"errors": True, "items": [{"delete": {"status": one}} for one in (200, item)]}):
            expect(delete(store, "a", "b"), (status,))


def what_is_acknowledged_and_kept(client, store):
    insert(client, "a")
    with instead(client, "_bulk", lambda: {"errors": False, "items": [{"delete": {"status": 200, "result": "deleted"}}]}):
        expect(delete(store, "a", "b", "a"), (200, ["kept", "gone", "kept"]))
    expect(delete(store, "a", "b", "a"), (200, ["gone", "gone", "gone"]))


def what_has_changed_since_it_was_read(client, store):
    """A delete that takes effect late does not remove documents that were inserted since."""
    insert(client, "a")

    def insert_again_first(call, send):
        if call == "_bulk":
            client.transport.fault = None
            client.delete(index="i", id="a")
            insert(client, "a")
        return send()

    client.transport.fault = insert_again_first
    expect(delete(store, "a"), (200, ["kept"]))
    expect(delete(store, "a"), (200, ["gone"]))


def an_object_of_many_documents(client, store):
    if store.field is None:
        return
    others = [f"other-{number}" for number in range(10)]
    lines = []
    for one in ["a"] * (2 * PAGE + 1) + others:
        lines += [{"index": {"_index": "i"}}, {"object_id": one}]
    client.bulk(body=lines)
    expect(present(store, "a", "b", *others), (200, [True, False] + [True] * 10))
    rounds = [delete(store, "a", "b") for _ in range(3)]
    expect(rounds, [(200, ["more", "gone"])] * 2 + [(200, ["gone", "gone"])])
    expect(present(store, "a", "b", *others), (200, [False, False] + [True] * 10))


def an_id_that_is_too_long(client, store):
    """With a field an id may have the maximum number of bytes."""
    longest, longer, longest_of_all = "é" * 256, "é" * 256 + "x", "é" * 512
    client.index(index="i", id=longest, body={"object_id": longest})
    status, body = request(store, "present", "i", [longest, longer, longest_of_all])
    refused = [one["position"] for one in body["refused"]]
    expect((status, body["present"], refused), (200, [True, False, False], [] if store.field else [1, 2]))
    if store.field:
        client.index(index="i", body={"object_id": longest_of_all})
        expect(present(store, longest_of_all), (200, [True]))
    expect(delete(store, longest, longer, longest_of_all), (200, ["gone"] * 3))
    expect(present(store, longest, longer, longest_of_all), (200, [False] * 3))


def names_of_no_index(client, store):
    for name in ("j", "I", "*", "i*", "i,i", "_all", "-j", "+i", "", ".", "..", "<i>", "other:i", "i?", "i/"):
        # A name that could mean something else than an index is not sent at all. For example, a
        # proxy makes `/./_search` a search of all indices.
        nothing_sent = contextlib.nullcontext() if name in ("j", "I") else failing(client, None, AssertionError("it was sent"))
        with nothing_sent:
            for operation in ("present", "delete"):
                status, body = request(store, operation, name, ["a"])
                expect((name, status, body.get("type", "").rsplit("/", 1)[-1]), (name, 404, "index-missing"))


def fields_that_do_not_hold_ids(client, store):
    client.indices.create(index="good", body=settings({"a": {"properties": {"b": {"type": "text", "fields": {"c": KEYWORD}}}}}))
    inner = {"object_id": KEYWORD}
    for mapping in (
        None,
        {"type": "text"},
        {"type": "long"},
        KEYWORD | {"ignore_above": 256},
        KEYWORD | {"normalizer": "lowercase"},
        KEYWORD | {"index": False},
        KEYWORD | {"doc_values": False},
        KEYWORD | {"null_value": "none"},
    ):
        client.indices.create(index="bad", body=settings({"object_id": mapping} if mapping else {}))
        # One index of an alias is enough.
        actions = [{"add": {"index": index, "alias": "both"}} for index in ("i", "bad")]
        client.indices.update_aliases(body={"actions": actions})
        for index in ("bad", "both"):
            for operation in ("present", "delete"):
                expect(request(store, operation, index, ["a"])[0], 422 if store.field else 200)
        client.indices.delete(index="bad")
    client.indices.create(index="nested", body=settings({"parts": {"type": "nested", "properties": inner}}))
    if store.field:
        expect(request(OpenSearch(client, "parts.object_id"), "present", "nested", ["a"])[0], 422)
        client.index(index="good", body={"a": {"b": "An id"}})
        expect(request(OpenSearch(client, "a.b.c"), "present", "good", ["An id", "An"])[1]["present"], [True, False])


def nothing_is_sent_twice():
    """A call is not sent twice, even if the connection ends without a response."""
    accepted = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def hang_up():
            with contextlib.suppress(OSError):
                while True:
                    accepted.append(server.accept()[0])
                    accepted[-1].close()

        threading.Thread(target=hang_up, daemon=True).start()
        client = connect(f"http://127.0.0.1:{server.getsockname()[1]}")
        expect(present(OpenSearch(client), "a"), (503,))
        expect(len(accepted), 1)
        server.shutdown(socket.SHUT_RDWR)


def settings(properties):
    """An index of three shards, which only the bridge refreshes."""
    return {"settings": {"number_of_shards": 3, "refresh_interval": "-1"}, "mappings": {"properties": properties}}


def insert(client, *ids):
    for one in ids:
        client.index(index="i", id=one, body={"object_id": one})


@contextlib.contextmanager
def faulty(client, fault):
    client.transport.fault = fault
    try:
        yield
    finally:
        client.transport.fault = None


def changed(client, name, change, after=None):
    """Changes the responses to a call, from the start or after another call."""
    waits = [after] if after else []

    def fault(call, send):
        response = send()
        if call in waits:
            waits.remove(call)
        elif call == name and not waits:
            change(response)
        return response

    return faulty(client, fault)


def failing(client, name, error):
    """Makes a call end with this error. Without a name every call does."""

    def fault(call, send):
        if name in (call, None):
            raise error
        return send()

    return faulty(client, fault)


def instead(client, name, response):
    """Gives a call this response, without carrying it out."""
    return faulty(client, lambda call, send: response() if call == name else send())


def request(store, operation, index, ids):
    not_after = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=10)
    body = {"index": index, "ids": ids, "not_after": not_after.isoformat()}
    with contextlib.redirect_stderr(io.StringIO()):
        return respond(store, f"/{operation}", HEADERS, json.dumps(body).encode(), None)


def present(store, *ids):
    status, body = request(store, "present", "i", list(ids))
    return (status, body["present"]) if status == 200 else (status,)


def delete(store, *ids):
    status, body = request(store, "delete", "i", list(ids))
    return (status, body["outcomes"]) if status == 200 else (status,)


def expect(found, expected):
    if found != expected:
        raise AssertionError(f"expected {expected}, got {found}")


if __name__ == "__main__":
    # The client logs every request that fails.
    logging.disable()
    main()
