"""A bridge to OpenSearch: the index is an index or an alias of OpenSearch.

An object id is a document's `_id` or, with --field, a field's value.

    pip install opensearch-py
    python opensearch_bridge.py --port 9100 --url http://127.0.0.1:9200 --field object_id

    VECTOR_STORES='{"*": "http://127.0.0.1:9100/opensearch"}' cargo run

With --field, every document that has the value is deleted; map the field as `keyword`. If
OPENSEARCH_USER and OPENSEARCH_PASSWORD are set, the bridge logs in to OpenSearch with them.

A search finds only documents that were refreshed, and with segment replication the replicas lag.
So each read refreshes the index and searches its primary shards, which needs OpenSearch 2.8 or
newer. Without --field, it searches by `_id`: a search also finds documents with a routing value,
and covers every index of an alias. A get by `_id` does neither.

The bridge was tried with an emulator. It was not tried with a real OpenSearch or with Amazon
OpenSearch Service. It does not work with OpenSearch Serverless, which has no refresh: every call
fails.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import opensearchpy
from opensearchpy.exceptions import TransportError

from bridge import STORE_SECONDS, IndexMissing, Invalid, Outcome, Presence, Throttled, serve

# The most documents that are read and deleted at once. An object may have many documents.
PAGE = 1000
# The most bytes of an `_id`, and of an object id.
LONGEST_OF_OPENSEARCH, LONGEST = 512, 1024
REFUSED = f"An id of an OpenSearch document has at most {LONGEST_OF_OPENSEARCH} bytes"
# The name of one index or alias. It is not a pattern, a list, an exclusion, a date math expression
# or an index of another cluster.
NAME = re.compile(r'(?![-_+])(?!\.+$)[^\\/*?"<>| ,#:]+')


class OpenSearch:
    """The indices of an OpenSearch."""

    def __init__(self, client: opensearchpy.OpenSearch, field: str | None = None) -> None:
        self.client = client
        self.field = field

    def present(self, index: str, ids: Sequence[str]) -> Presence:
        with translated():
            self.check(index)
            there = self.there(index, ids)
        long = [] if self.field else [at for at, one in enumerate(ids) if len(one.encode()) > LONGEST_OF_OPENSEARCH]
        return Presence([one in there for one in ids], dict.fromkeys(long, REFUSED))

    def delete(self, index: str, ids: Sequence[str], begin: Callable[[], None]) -> list[Outcome]:
        with translated():
            self.check(index)
            documents = self.page(index, ids)
            if not documents:
                return ["gone"] * len(ids)
            begin()
            statuses = self.delete_documents(documents)
            if 429 in statuses:
                raise Throttled
            if max(statuses) >= 500:
                raise RuntimeError(f"OpenSearch did not carry out every delete: {sorted(set(statuses))}")
            # The other statuses do not matter (409 means that a document has changed), since a
            # current read decides.
            there = self.there(index, ids)
        is_part = len(documents) == PAGE and 200 in statuses
        # If all documents were tried, an id that is still there was kept or inserted again.
        return [("more" if is_part else "kept") if one in there else "gone" for one in ids]

    def check(self, index: str) -> None:
        """Fails unless the name is that of one index or alias, and the field fits.

        The field fits if a search by it finds exactly the documents of an id.
        """
        if not NAME.fullmatch(index):
            raise IndexMissing
        if self.field is not None:
            mappings = self.client.indices.get_mapping(index=index).values()
            if not all(holds_ids(one["mappings"], self.field) for one in mappings):
                raise Invalid(422, f"`{self.field}` is not a plain keyword field for values of {LONGEST} characters")

    def there(self, index: str, ids: Sequence[str]) -> set[str]:
        """Returns which of these ids have a document."""
        there = set[str]()
        # Each full page has at least one id that was not known yet.
        for _ in ids:
            documents = self.page(index, [one for one in ids if one not in there])
            there.update(one for document in documents for one in self.ids_of(document))
            if len(documents) < PAGE:
                break
        return there

    def page(self, index: str, ids: Sequence[str]) -> list[dict[str, Any]]:
        """Returns up to a page of the documents of these ids, by a current read of all shards."""
        refreshed = self.client.indices.refresh(index=index)
        if refreshed["_shards"]["failed"]:
            raise RuntimeError(f"not every shard was refreshed: {refreshed['_shards']}")
        found = self.client.search(
            index=index,
            preference="_primary",
            body={
                "query": {"terms": {self.field or "_id": list(dict.fromkeys(ids))}},
                "docvalue_fields": [self.field] if self.field else [],
                "size": PAGE,
                "track_total_hits": False,
                "_source": False,
                "seq_no_primary_term": True,
            },
        )
        if found["timed_out"] or found["_shards"]["successful"] < found["_shards"]["total"]:
            raise RuntimeError(f"not every shard was searched: {found['_shards']}")
        documents: list[dict[str, Any]] = found["hits"]["hits"]
        return documents

    def ids_of(self, document: dict[str, Any]) -> list[str]:
        """The object ids that a document has."""
        ids: list[str] = document["fields"][self.field] if self.field else [document["_id"]]
        return ids

    def delete_documents(self, documents: Sequence[dict[str, Any]]) -> list[int]:
        """Deletes these documents as they were read, and returns the status of each.

        A document that has changed since, or was inserted again, is not deleted, however late the
        delete takes effect.
        """
        deletes = []
        for document in documents:
            delete = {"_index": document["_index"], "_id": document["_id"]}
            delete |= {"if_seq_no": document["_seq_no"], "if_primary_term": document["_primary_term"]}
            if "_routing" in document:
                delete["routing"] = document["_routing"]
            deletes.append({"delete": delete})
        # The first time limit is OpenSearch's own, for a shard to become available. The second one
        # is for the response.
        done = self.client.bulk(body=deletes, timeout=f"{STORE_SECONDS}s", request_timeout=STORE_SECONDS)
        return [item["delete"]["status"] for item in done["items"]]


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """Turns the client's errors into those of the protocol. Any other error is temporary."""
    try:
        yield
    except TransportError as error:
        if error.status_code == 429:
            raise Throttled from None
        if error.error == "index_not_found_exception":
            raise IndexMissing from None
        if error.status_code in (401, 403):
            raise Invalid(403, "OpenSearch denies the bridge this call") from None
        raise


def holds_ids(mapping: dict[str, Any], field: str) -> bool:
    """Whether a search by this field finds every document of an id, and no other.

    A text field also finds others. A keyword field that ignores long values, as dynamic mappings
    make it, does not find all.
    """
    for name in field.split("."):
        mapping = mapping.get("properties", mapping.get("fields", {})).get(name, {})
        if mapping.get("type") == "nested":
            return False
    return (
        mapping.get("type") == "keyword"
        and mapping.get("index", True)
        and mapping.get("doc_values", True)
        and mapping.get("ignore_above", LONGEST) >= LONGEST
        and not {"normalizer", "null_value"} & mapping.keys()
    )


def connect(url: str, **options: Any) -> opensearchpy.OpenSearch:
    """Returns a client that never retries.

    The worker itself repeats a delete, after it has read the task again.
    """
    return opensearchpy.OpenSearch(url, timeout=STORE_SECONDS, max_retries=0, **options)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=9100)
    parser.add_argument("--url", default="http://127.0.0.1:9200")
    parser.add_argument("--field")
    options = parser.parse_args()
    user = os.environ.get("OPENSEARCH_USER")
    # For Amazon OpenSearch Service with IAM, pass opensearchpy.Urllib3AWSV4SignerAuth(credentials,
    # region) here. This was not tried.
    client = connect(options.url, http_auth=(user, os.environ["OPENSEARCH_PASSWORD"]) if user else None)
    serve(OpenSearch(client, options.field), options.port, os.environ.get("VECTOR_STORE_TOKEN"))


if __name__ == "__main__":
    main()
