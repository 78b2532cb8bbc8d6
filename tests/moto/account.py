"""The account: moto's server, with the table and the queues of template.yaml and a bucket of
vectors.

Where moto differs from what AWS documents:

- A canceled transaction undoes what other calls wrote meanwhile. So the server serves one call at a
  time (`server.py`).
- It creates a table without the Time to Live of its CloudFormation properties. Nothing here relies
  on Time to Live.
- It does not support limits of a table's throughput or the conditions of a template. By default the
  table has neither limits nor a stream.
- Its CloudFormation returns queue URLs with AWS's host name. The functions send such a URL
  unchanged to their configured endpoint, as they would to AWS.
"""

import json
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import boto3
import yaml
from moto.cloudformation.utils import yaml_tag_constructor

from indexes import BUCKET, Indexes
from processes import ROOT, Failed, free_port

REGION = "us-east-1"
# The resources of the template that moto creates.
MADE = ["AWS::DynamoDB::Table", "AWS::SQS::Queue"]
START_SECONDS = 60

# CloudFormation's short forms, such as `!Ref`.
yaml.add_multi_constructor("", yaml_tag_constructor, Loader=yaml.SafeLoader)


class Account:
    """The running server and what is in it. It stops at the end of a `with`."""

    def __init__(self, folder):
        self.template = yaml.safe_load((ROOT / "template.yaml").read_text())
        self.log = folder / "moto"

    def __enter__(self):
        port = free_port()
        self.endpoint = f"http://127.0.0.1:{port}"
        command = [sys.executable, Path(__file__).with_name("server.py"), str(port)]
        with open(self.log, "w") as output:
            self.server = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
        try:
            self.await_server()
            self.make()
        except BaseException:
            self.server.kill()
            raise
        return self

    def __exit__(self, *_):
        self.server.terminate()
        self.server.wait(20)

    def await_server(self):
        for _ in range(START_SECONDS * 10):
            try:
                urllib.request.urlopen(f"{self.endpoint}/moto-api/data.json", timeout=5).close()
                return
            except OSError:
                if self.server.poll() is not None:
                    break
                time.sleep(0.1)
        raise Failed(f"moto's server does not start:\n{self.log.read_text()}")

    def make(self):
        """Creates the table and the queues of the template, through moto's CloudFormation, and
        creates the bucket."""
        resources = {name: made for name, made in self.template["Resources"].items() if made["Type"] in MADE}
        table = resources["TaskTable"]["Properties"]
        for limited in (table, *table["GlobalSecondaryIndexes"]):
            del limited["OnDemandThroughput"]
        del table["StreamSpecification"]
        stack = self.client("cloudformation")
        stack.create_stack(StackName="deletion-tasks", TemplateBody=json.dumps({"Resources": resources}))
        made = stack.describe_stack_resources(StackName="deletion-tasks")["StackResources"]
        self.made = {resource["LogicalResourceId"]: resource["PhysicalResourceId"] for resource in made}
        self.table, self.queue_url = self.made["TaskTable"], self.made["TaskQueue"]
        self.dynamodb, self.sqs, vectors = map(self.client, ["dynamodb", "sqs", "s3vectors"])
        vectors.create_vector_bucket(vectorBucketName=BUCKET)
        self.vectors = Indexes(vectors)

    def client(self, service):
        keys = {"aws_access_key_id": "any", "aws_secret_access_key": "any"}
        return boto3.client(service, endpoint_url=self.endpoint, region_name=REGION, **keys)

    def variables(self, function):
        """The variables that the template gives a function: a resource's name, a parameter's
        default, or a value given here."""
        own = next(
            resource["Properties"]
            for resource in self.template["Resources"].values()
            if resource.get("Metadata", {}).get("BuildProperties", {}).get("Binary") == function
        )
        given = [self.template["Globals"]["Function"], own]
        named = {name: value for where in given for name, value in where["Environment"]["Variables"].items()}
        computed = {
            "VECTOR_STORES": json.dumps({"*": f"s3vectors://{BUCKET}/{{embedding_model_id}}"}),
            "METRICS_NAMESPACE": "DeletionTasks/moto",
        }
        variables = {}
        for name, value in named.items():
            if name in computed:
                variables[name] = computed[name]
            elif isinstance(value, dict) and set(value) == {"Ref"}:
                variables[name] = self.made.get(value["Ref"]) or str(self.template["Parameters"][value["Ref"]]["Default"])
            else:
                raise Failed(f"template.yaml computes {name} of {function}: say in {__file__} what it is here")
        return variables

    # The table, as an operator sees it.

    def task(self, name):
        """A task's item."""
        return self.item(f"T#{name}")

    def item(self, key):
        return self.dynamodb.get_item(TableName=self.table, Key={"pk": {"S": key}}, ConsistentRead=True).get("Item")

    def put_item(self, item):
        self.dynamodb.put_item(TableName=self.table, Item=item)

    def change_task(self, name, update, values):
        self.dynamodb.update_item(
            TableName=self.table,
            Key={"pk": {"S": f"T#{name}"}},
            UpdateExpression=update,
            ConditionExpression="attribute_exists(pk)",
            ExpressionAttributeValues=values,
        )
