"""Amazon S3 Vectors: the local runner's embedded server, because MiniStack has none."""

import re
from pathlib import Path

import boto3

from account import REGION, environment
from indexes import Indexes
from programs import Program


class Vectors(Indexes):
    """The running server, with the demo index `embed-456` in the bucket `demo`."""

    def __init__(self, folder: Path, runner: Path):
        # Only its S3 Vectors is used; its API and its other services are idle.
        self.program = Program([str(runner), "--port", "0"], environment(), folder / "vectors.log")
        self.program.await_ready("the S3 Vectors server", lambda: "Ready" in self.program.printed())
        self.endpoint = re.search(r"AWS_ENDPOINT_URL_S3VECTORS=(\S+)", self.program.printed())[1]
        client = boto3.client(
            "s3vectors",
            endpoint_url=self.endpoint,
            region_name=REGION,
            aws_access_key_id="any",
            aws_secret_access_key="any",
        )
        super().__init__(client)

    def stop(self):
        """Stops the server."""
        self.program.stop()
