"""Amazon S3 Vectors: the one-machine runner's embedded server, since MiniStack has none."""

import re
from pathlib import Path

import boto3

from account import REGION, environment
from processes import Program

BUCKET = "demo"


class Vectors:
    """The running server, with the demo index `embed-456` in the bucket `demo`."""

    def __init__(self, folder: Path, runner: Path):
        # Only its S3 Vectors is used; its API and its other services are idle.
        self.program = Program([str(runner), "--port", "0"], environment(), folder / "vectors.log")
        self.program.await_ready("the S3 Vectors server", lambda: "Ready" in self.program.printed())
        self.endpoint = re.search(r"AWS_ENDPOINT_URL_S3VECTORS=(\S+)", self.program.printed())[1]
        self.client = boto3.client(
            "s3vectors",
            endpoint_url=self.endpoint,
            region_name=REGION,
            aws_access_key_id="any",
            aws_secret_access_key="any",
        )

    def index(self, name, keys):
        """Creates an index that holds these objects."""
        self.client.create_index(
            vectorBucketName=BUCKET, indexName=name, dataType="float32", dimension=2, distanceMetric="cosine"
        )
        self.put(name, keys)

    def put(self, index, keys):
        """Inserts objects."""
        for start in range(0, len(keys), 500):
            vectors = [{"key": key, "data": {"float32": [0.5, 1.0]}} for key in keys[start : start + 500]]
            self.client.put_vectors(vectorBucketName=BUCKET, indexName=index, vectors=vectors)

    def present(self, index, keys):
        """Which of these objects the index holds."""
        found = []
        for start in range(0, len(keys), 100):
            response = self.client.get_vectors(vectorBucketName=BUCKET, indexName=index, keys=keys[start : start + 100])
            found += [vector["key"] for vector in response["vectors"]]
        return set(found)

    def stop(self):
        """Stops the server."""
        self.program.stop()
