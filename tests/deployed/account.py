"""An emulated AWS account on loopback: MiniStack, with IAM enforced, and its clients."""

import json
import os
import urllib.error
import urllib.request
from pathlib import Path

import boto3
from botocore.config import Config

from processes import free_port
from programs import Program

REGION = "eu-west-1"
# MiniStack treats the key that it was started with as the account's root. It is AWS's documented
# example, not a secret.
ROOT_KEY = "AKIAIOSFODNN7EXAMPLE"
ROOT_SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"


def environment(**more):
    """An environment that hides the caller's AWS settings from a program."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": os.environ["HOME"],
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_REGION": REGION,
        "AWS_ACCESS_KEY_ID": ROOT_KEY,
        "AWS_SECRET_ACCESS_KEY": ROOT_SECRET,
        "AWS_EC2_METADATA_DISABLED": "true",
        **more,
    }


class Account:
    """A running MiniStack."""

    def __init__(self, folder: Path, s3vectors_endpoint: str):
        port = free_port()
        self.endpoint = f"http://127.0.0.1:{port}"
        home = folder / "account"
        home.mkdir()
        # The functions inherit this environment: they call AWS at the first endpoint and S3 Vectors
        # at the second.
        env = environment(
            HOME=str(home),
            TMPDIR=str(home),
            BIND_HOST="127.0.0.1",
            GATEWAY_PORT=str(port),
            MINISTACK_REGION=REGION,
            AUTH="true",
            # No test needs these servers, and other programs may use their ports.
            SFTP_ENABLED="0",
            IOT_MTLS_ENABLED="0",
            AWS_ENDPOINT_URL=self.endpoint,
            AWS_ENDPOINT_URL_S3VECTORS=s3vectors_endpoint,
        )
        env["PATH"] = "/usr/bin:/bin"
        ministack = Path(os.environ["MINISTACK_DIR"]) / "bin" / "ministack"
        self.program = Program([str(ministack)], env, folder / "ministack.log")
        self.program.await_ready("MiniStack", self._is_healthy)

    def _is_healthy(self):
        try:
            with urllib.request.urlopen(f"{self.endpoint}/_ministack/health", timeout=2) as response:
                return response.status == 200
        except (urllib.error.URLError, OSError):
            return False

    def environment(self):
        """An environment for a program that works in this account as its root."""
        return environment(AWS_ENDPOINT_URL=self.endpoint)

    def client(self, service):
        """A client with the permissions of the account's root."""
        return boto3.client(
            service,
            endpoint_url=self.endpoint,
            region_name=REGION,
            aws_access_key_id=ROOT_KEY,
            aws_secret_access_key=ROOT_SECRET,
            config=Config(retries={"max_attempts": 2}),
        )

    def user(self, name, allowed=None):
        """Creates an IAM user and returns its key and secret. `allowed` is the ARN on which it may
        call execute-api:Invoke."""
        iam = self.client("iam")
        iam.create_user(UserName=name)
        if allowed:
            statement = {"Effect": "Allow", "Action": "execute-api:Invoke", "Resource": allowed}
            policy = {"Version": "2012-10-17", "Statement": [statement]}
            iam.put_user_policy(UserName=name, PolicyName="call", PolicyDocument=json.dumps(policy))
        key = iam.create_access_key(UserName=name)["AccessKey"]
        return key["AccessKeyId"], key["SecretAccessKey"]

    def stop(self):
        """Stops MiniStack and the functions that it runs."""
        self.program.stop()
