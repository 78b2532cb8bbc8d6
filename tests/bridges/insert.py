"""Inserts objects into a scratch index: `insert.py chroma|qdrant PORT INDEX`, one id a line on standard input."""

import json
import sys
import urllib.request


def chroma(port, index, ids):
    import chromadb

    collection = chromadb.HttpClient(host="127.0.0.1", port=int(port)).get_or_create_collection(index)
    # As many as Chroma takes at once.
    for start in range(0, len(ids), 1000):
        some = ids[start : start + 1000]
        collection.upsert(ids=some, embeddings=[[1.0, 2.0, 3.0]] * len(some))


def qdrant(port, index, ids):
    """By the second port of qdrant_local.py."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}/{index}", json.dumps(ids).encode())
    urllib.request.urlopen(request).close()


if __name__ == "__main__":
    # An id may hold any character but a line feed.
    lines = sys.stdin.buffer.read().decode().split("\n")
    {"chroma": chroma, "qdrant": qdrant}[sys.argv[1]](sys.argv[2], sys.argv[3], [line for line in lines if line])
