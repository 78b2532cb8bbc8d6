"""Builds and deploys template.yaml with the SAM CLI."""

import copy
import os
import re
import subprocess
from pathlib import Path

from samcli.yamlhelper import yaml_parse

import gateway
from account import Account, environment
from adjust import adjust

ROOT = Path(__file__).resolve().parents[2]
TEMPLATE = ROOT / "template.yaml"
BUCKET = "deployment-artifacts"
# Faster to compile; everything else of the release profile stays. The functions are compiled for
# this machine's processor.
LIGHT_BUILD = {
    "CARGO_PROFILE_RELEASE_OPT_LEVEL": "0",
    "CARGO_PROFILE_RELEASE_LTO": "false",
    "CARGO_PROFILE_RELEASE_CODEGEN_UNITS": "16",
}
ARCHITECTURE = {"x86_64": "x86_64", "aarch64": "arm64"}[os.uname().machine]


def sam(*arguments, env):
    """Runs the SAM CLI. Shows its output only if it fails."""
    env = {**env, "SAM_CLI_TELEMETRY": "0"}
    done = subprocess.run(
        [str(Path(os.environ["SAM_DIR"]) / "bin" / "sam"), *arguments],
        cwd=ROOT,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode != 0:
        raise AssertionError(f"sam {' '.join(arguments)} ended with {done.returncode}:\n{done.stdout}")
    return done.stdout


def build(folder: Path):
    """Builds the eight functions into the workspace's single target directory, and returns the
    built template."""
    cargo = {name: value for name, value in os.environ.items() if name.startswith(("CARGO", "RUSTUP"))}
    built = folder / "built"
    sam(
        "build",
        "--beta-features",
        *("--build-dir", str(built)),
        *("--parameter-overrides", f"Architecture={ARCHITECTURE}"),
        env=environment(**cargo, **LIGHT_BUILD),
    )
    return built / "template.yaml"


class Stack:
    """The service, deployed to an account."""

    def __init__(self, account: Account, built: Path, name="deletion-tasks"):
        self.account = account
        self.built = built
        self.name = name
        self.outputs = {}
        # SAM's own bucket has a policy that denies plain HTTP.
        account.client("s3").create_bucket(
            Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": account.client("s3").meta.region_name}
        )

    def beside(self, name):
        """Another stack of the same template in the same account."""
        other = copy.copy(self)
        other.name, other.outputs = name, {}
        return other

    def deploy(self, *further_changes, **parameters):
        """Deploys the built template, adjusted for MiniStack and with further changes, with these
        parameters."""
        parameters = {"Architecture": ARCHITECTURE, "VectorBucketName": "demo", **parameters}
        adjusted = self.built.with_name("adjusted.yaml")
        adjust(self.built, adjusted, parameters, further_changes)
        sam(
            "deploy",
            *("--template-file", str(adjusted)),
            *("--stack-name", self.name),
            *("--s3-bucket", BUCKET),
            *("--capabilities", "CAPABILITY_IAM"),
            "--no-confirm-changeset",
            "--no-progressbar",
            "--parameter-overrides",
            *(f"{name}={value}" for name, value in parameters.items()),
            env=self.account.environment(),
        )
        described = self.account.client("cloudformation").describe_stacks(StackName=self.name)["Stacks"][0]
        self.outputs = {output["OutputKey"]: output["OutputValue"] for output in described["Outputs"]}
        gateway.complete(self.account.client("apigateway"), self.api_id, yaml_parse(TEMPLATE.read_text()))

    def delete(self):
        """Removes the stack."""
        cloudformation = self.account.client("cloudformation")
        cloudformation.delete_stack(StackName=self.name)
        cloudformation.get_waiter("stack_delete_complete").wait(StackName=self.name, WaiterConfig={"Delay": 1})

    @property
    def api_id(self):
        """The REST API's id."""
        return re.match(r"https://([^.-]+)(-vpce-\w+)?\.execute-api\.", self.outputs["ApiUrl"])[1]

    @property
    def api_base(self):
        """MiniStack's URL for the API's stage, without a path."""
        return f"{self.account.endpoint}/restapis/{self.api_id}/live/_user_request_"

    def physical(self, logical):
        """The name of a resource of the stack."""
        resource = self.account.client("cloudformation").describe_stack_resource(
            StackName=self.name, LogicalResourceId=logical
        )
        return resource["StackResourceDetail"]["PhysicalResourceId"]

    def role_arn(self, logical):
        """The ARN of a role of the stack."""
        return self.account.client("iam").get_role(RoleName=self.physical(logical))["Role"]["Arn"]

    def function(self, name):
        """The name of a function of the stack."""
        return f"{self.name}-{name}"
