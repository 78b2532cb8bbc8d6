"""Inserts objects into a scratch index: `insert.py KIND PORT INDEX`. KIND is a key of INSERTS.
Standard input has one id per line."""

import json
import sys
import urllib.request


def chroma(port, index, ids):
    import chromadb

    collection = chromadb.HttpClient(host="127.0.0.1", port=int(port)).get_or_create_collection(index)
    # Chroma accepts this many at once.
    for start in range(0, len(ids), 1000):
        some = ids[start : start + 1000]
        collection.upsert(ids=some, embeddings=[[1.0, 2.0, 3.0]] * len(some))


def qdrant(port, index, ids):
    """Inserts through the second port of qdrant_local.py."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}/{index}", json.dumps(ids).encode())
    urllib.request.urlopen(request).close()


def opensearch(port, index, ids, field=None):
    """Inserts two documents for each id, in two indices behind one alias, half of them with a
    routing value. Nothing refreshes the indices."""
    import opensearchpy

    client = opensearchpy.OpenSearch(f"http://127.0.0.1:{port}", timeout=60)
    parts = [f"{index}-{number}" for number in (1, 2)]
    if not client.indices.exists_alias(name=index):
        for part in parts:
            settings = {"number_of_shards": 3, "refresh_interval": "-1"}
            mappings = {"properties": {"object_id": {"type": "keyword"}}}
            client.indices.create(index=part, body={"settings": settings, "mappings": mappings, "aliases": {index: {}}})
    lines = []
    for one in ids:
        for part in parts:
            meta = {"_index": part} if field else {"_index": part, "_id": one}
            lines.append({"index": meta | ({"routing": "customer"} if len(one) % 2 else {})})
            lines.append({field: one} if field else {"title": "a document"})
    if client.bulk(body=lines)["errors"]:
        sys.exit("OpenSearch did not take every document")


def opensearch_field(port, index, ids):
    opensearch(port, index, ids, "object_id")


INSERTS = {"chroma": chroma, "qdrant": qdrant, "opensearch": opensearch, "opensearch-field": opensearch_field}

if __name__ == "__main__":
    # An id may have any character except a line feed.
    lines = sys.stdin.buffer.read().decode().split("\n")
    INSERTS[sys.argv[1]](sys.argv[2], sys.argv[3], [line for line in lines if line])
