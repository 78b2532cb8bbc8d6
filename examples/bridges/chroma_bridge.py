"""A bridge to Chroma: an object id is the id of a record, an index is a collection.

    pip install chromadb
    chroma run --port 8000
    python chroma_bridge.py --port 9100 --chroma-port 8000

    VECTOR_STORES='{"*": "http://127.0.0.1:9100/chroma"}' cargo run

The bridge does not use Chroma's own count of deleted records, which includes ids that were not
there. Instead, it reads before and after a delete.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Sequence

import chromadb
from chromadb.api import ClientAPI
from chromadb.errors import ChromaError, NotFoundError, RateLimitError

from bridge import IndexMissing, Outcome, Presence, Throttled, serve


class Chroma:
    """Collections of a Chroma server."""

    def __init__(self, client: ClientAPI) -> None:
        self.client = client

    def present(self, index: str, ids: Sequence[str]) -> Presence:
        there = self.there(self.collection(index), ids)
        return Presence([one in there for one in ids])

    def delete(self, index: str, ids: Sequence[str], begin: Callable[[], None]) -> list[Outcome]:
        collection = self.collection(index)
        there = self.there(collection, ids)
        if there:
            begin()
            collection.delete(ids=sorted(there))
        # An id that is still there was kept, or somebody has inserted it again.
        kept = self.there(collection, sorted(there))
        return ["kept" if one in kept else "gone" for one in ids]

    def collection(self, index: str) -> chromadb.Collection:
        try:
            return self.client.get_collection(index)
        except NotFoundError:
            raise IndexMissing from None
        except RateLimitError:
            raise Throttled from None
        except (ChromaError, ValueError) as error:
            # No collection can have this name.
            if "name" in str(error).lower():
                raise IndexMissing from None
            raise

    @staticmethod
    def there(collection: chromadb.Collection, ids: Sequence[str]) -> set[str]:
        """Returns which of these ids have a record.

        Chroma accepts neither repeated ids nor an empty list.
        """
        distinct = list(dict.fromkeys(ids))
        return set(collection.get(ids=distinct, include=[])["ids"]) if distinct else set()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=9100)
    parser.add_argument("--chroma-host", default="127.0.0.1")
    parser.add_argument("--chroma-port", type=int, default=8000)
    options = parser.parse_args()
    client = chromadb.HttpClient(host=options.chroma_host, port=options.chroma_port)
    serve(Chroma(client), options.port, os.environ.get("VECTOR_STORE_TOKEN"))


if __name__ == "__main__":
    main()
