"""A bridge to Qdrant's local mode, in this process: `qdrant_local.py PORT INSERT_PORT [FIELD]`. On
the second port it accepts a JSON list of ids to insert into an index, because no other process can
reach the data in this process's memory."""

import http.server
import json
import pathlib
import sys
import threading
import uuid

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "examples/bridges"))
from bridge import serve  # noqa: E402
from qdrant_bridge import Qdrant, point_id  # noqa: E402
from qdrant_client import QdrantClient, models  # noqa: E402

port, insert_port, field = int(sys.argv[1]), int(sys.argv[2]), (sys.argv[3:] or [None])[0]
client = QdrantClient(":memory:")
lock = threading.Lock()


class Insert(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        index = self.path.strip("/")
        ids = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with lock:
            if not client.collection_exists(index):
                client.create_collection(index, models.VectorParams(size=3, distance=models.Distance.DOT))
            points = [self.point(one) for one in ids for _ in range(2 if field else 1)]
            client.upsert(index, points)
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def point(self, one):
        """A point for an id. With a field, each object has several points, like a document of
        several parts."""
        if field:
            return models.PointStruct(id=str(uuid.uuid4()), vector=[1.0, 2.0, 3.0], payload={field: one})
        return models.PointStruct(id=point_id(one), vector=[1.0, 2.0, 3.0])

    def log_message(self, *_):
        pass


class OneAtATime(Qdrant):
    """Makes one call at a time, because the data of Qdrant's local mode is not meant for several
    threads."""

    def present(self, index, ids):
        with lock:
            return super().present(index, ids)

    def delete(self, index, ids, begin):
        with lock:
            return super().delete(index, ids, begin)


inserts = http.server.ThreadingHTTPServer(("127.0.0.1", insert_port), Insert)
threading.Thread(target=inserts.serve_forever, daemon=True).start()
serve(OneAtATime(client, field), port)
