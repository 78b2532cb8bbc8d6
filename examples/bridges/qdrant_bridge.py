"""A bridge to Qdrant: an index is a collection.

An object id is a point's id or, with --field, the value of a field in its payload.

    pip install qdrant-client
    python qdrant_bridge.py --port 9100 --url http://127.0.0.1:6333 --field object_id

    VECTOR_STORES='{"*": "http://127.0.0.1:9100/qdrant"}' cargo run

Without --field, the ids are Qdrant's own, unsigned numbers and UUIDs, and all others are refused.
With --field, every point that has the value is deleted; give the field a keyword index.
"""

from __future__ import annotations

import argparse
import os
import uuid
from collections.abc import Callable, Sequence

from qdrant_client import QdrantClient, models
from qdrant_client.common.client_exceptions import ResourceExhaustedResponse
from qdrant_client.http.exceptions import UnexpectedResponse

from bridge import STORE_SECONDS, IndexMissing, Outcome, Presence, Throttled, serve

# The most points that are read at once by the value of a field. An object may have many points.
PAGE = 1000
REFUSED = "Qdrant's ids are whole numbers from 0 to 2^64 - 1 in plain digits, and UUIDs in lower case with hyphens"


class Qdrant:
    """The collections of a Qdrant."""

    def __init__(self, client: QdrantClient, field: str | None = None) -> None:
        self.client = client
        self.field = field

    def present(self, index: str, ids: Sequence[str]) -> Presence:
        self.check(index)
        refused = {} if self.field else {at: REFUSED for at, one in enumerate(ids) if point_id(one) is None}
        there = self.there(index, [one for at, one in enumerate(ids) if at not in refused])
        return Presence([one in there for one in ids], refused)

    def delete(self, index: str, ids: Sequence[str], begin: Callable[[], None]) -> list[Outcome]:
        self.check(index)
        distinct = list(dict.fromkeys(ids))
        if self.field:
            selector: models.PointsSelector = models.FilterSelector(filter=self.has(distinct))
        else:
            points: list[int | str | uuid.UUID] = [point for one in distinct if (point := point_id(one)) is not None]
            if not points:
                return ["gone"] * len(ids)
            selector = models.PointIdsList(points=points)
        begin()
        try:
            self.client.delete(index, selector, wait=True)
        except ResourceExhaustedResponse:
            raise Throttled from None
        # An id that is still there was kept, or somebody has inserted it again.
        kept = self.there(index, distinct)
        return ["kept" if one in kept else "gone" for one in ids]

    def check(self, index: str) -> None:
        try:
            if not self.client.collection_exists(index):
                raise IndexMissing
        except ResourceExhaustedResponse:
            raise Throttled from None
        except UnexpectedResponse as error:
            # No collection can have this name.
            if error.status_code in (400, 422):
                raise IndexMissing from None
            raise

    def there(self, index: str, ids: Sequence[str]) -> set[str]:
        """Returns which of these ids have a point, by a read of all replicas."""
        if self.field is None:
            points = list({point for one in ids if (point := point_id(one)) is not None})
            everywhere = models.ReadConsistencyType.ALL
            found = self.client.retrieve(index, points, with_payload=False, consistency=everywhere) if points else []
            return {str(record.id) for record in found}
        left, there = list(dict.fromkeys(ids)), set[str]()
        while left:
            # Read points of the values that were not found yet, until there are none.
            found, _ = self.client.scroll(
                index,
                scroll_filter=self.has(left),
                limit=PAGE,
                with_payload=[self.field],
                consistency=models.ReadConsistencyType.ALL,
            )
            values = {str((record.payload or {})[self.field]) for record in found}
            if not values:
                break
            there |= values
            left = [one for one in left if one not in there]
        return there

    def has(self, values: Sequence[str]) -> models.Filter:
        assert self.field is not None
        condition = models.FieldCondition(key=self.field, match=models.MatchAny(any=list(values)))
        return models.Filter(must=[condition])


def point_id(text: str) -> int | str | None:
    """Returns a point's id, if the text is in the form in which Qdrant itself writes it.

    So two texts never mean the same point.
    """
    if text.isascii() and text.isdigit():
        number = int(text)
        return number if str(number) == text and number < 2**64 else None
    try:
        return text if str(uuid.UUID(text)) == text else None
    except ValueError:
        return None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=9100)
    parser.add_argument("--url", default="http://127.0.0.1:6333")
    parser.add_argument("--field")
    options = parser.parse_args()
    client = QdrantClient(url=options.url, api_key=os.environ.get("QDRANT_API_KEY"), timeout=STORE_SECONDS)
    serve(Qdrant(client, options.field), options.port, os.environ.get("VECTOR_STORE_TOKEN"))


if __name__ == "__main__":
    main()
