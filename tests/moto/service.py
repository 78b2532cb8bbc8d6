"""The service: the built functions, called in the same way as by API Gateway, the queue's event
source and the schedule. The events are those of `events/`, with other bodies, queries and
messages."""

import json
import os
import subprocess
from dataclasses import dataclass

from account import REGION
from function import Function
from processes import ROOT, Failed

API = {
    "run": "create-deletion-task",
    "info": "get-deletion-task",
    "list": "list-deletion-tasks",
    "restart": "restart-deletion-task",
    "cancel": "cancel-deletion-task",
}
WORKER, SWEEPER = "deletion-worker", "task-sweeper"


@dataclass
class Response:
    """A response of the API."""

    status: int
    headers: dict
    json: object


class Service:
    """The running functions. They stop at the end of a `with`."""

    def __init__(self, account, folder):
        self.account = account
        self.folder = folder

    def __enter__(self):
        binaries = build()
        self.functions = {name: self.start(name, binaries[name]) for name in [*API.values(), WORKER, SWEEPER]}
        return self

    def __exit__(self, *_):
        for function in self.functions.values():
            function.stop()

    def start(self, name, binary):
        # moto accepts any credentials.
        aws = {"AWS_REGION": REGION, "AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "any", "AWS_SESSION_TOKEN": "any"}
        endpoint = {"AWS_ENDPOINT_URL": self.account.endpoint}
        return Function(name, binary, {**self.account.variables(name), **aws, **endpoint}, self.folder / name)

    def logs(self):
        """What the worker and the sweeper have logged."""
        return "\n".join(self.functions[name].log.read_text() for name in [WORKER, SWEEPER])

    def invoke(self, function, event):
        return self.functions[function].invoke(event)

    # The API.

    def call(self, endpoint, query=None, body=None, expected=200):
        """Makes one call. Fails unless the response has this status."""
        event = event_of(API[endpoint])
        query = {name: str(value) for name, value in (query or {}).items() if value is not None}
        event["queryStringParameters"] = query or None
        event["multiValueQueryStringParameters"] = {name: [value] for name, value in query.items()} or None
        event["body"] = body and json.dumps(body)
        response = self.invoke(API[endpoint], event)
        if response["statusCode"] != expected:
            raise Failed(f"{endpoint} {query}: expected {expected}, found {response}")
        headers = {name: values[0] for name, values in response.get("multiValueHeaders", {}).items()}
        return Response(response["statusCode"], {**headers, **(response.get("headers") or {})}, json.loads(response["body"]))

    def run(self, model, object_ids, task_id):
        return self.call("run", body={"embedding_model_id": model, "object_ids": object_ids, "task_id": task_id})

    def info(self, task_id, **query):
        return self.call("info", {"task_id": task_id, **query})

    def restart(self, task_id, status=200, **query):
        return self.call("restart", {"task_id": task_id, **query}, expected=status)

    def cancel(self, task_id, status=200, **query):
        return self.call("cancel", {"task_id": task_id, **query}, expected=status)

    def list(self, expected=200, **query):
        return self.call("list", query, expected=expected)

    def listed(self, **query):
        """The ids of all tasks on all pages of a list, in order. Checks that they are newest
        first."""
        tasks, cursor = [], None
        while True:
            page = self.list(**query, cursor=cursor).json
            tasks += page["tasks"]
            cursor = page["next_cursor"]
            if cursor is None:
                break
        order = [(task["created_at"], task["id"]) for task in tasks]
        if order != sorted(order, reverse=True):
            raise Failed(f"a list is not newest first: {order}")
        return [task["id"] for task in tasks]

    def outcomes(self, task_id):
        """What happened to each object, on all pages: pairs, in order."""
        items, cursor = [], None
        while True:
            page = self.info(task_id, outcome="all", cursor=cursor).json
            items += [(item["object_id"], item["outcome"]) for item in page["items"]]
            cursor = page["items_cursor"]
            if cursor is None:
                return items

    # The queue and the schedule.

    def work(self):
        """Lets the worker carry out messages until the queue is empty. Returns how many messages
        there were."""
        messages = 0
        while worked := self.work_once():
            messages += worked
        return messages

    def work_once(self):
        """Lets the worker carry out one batch, and deletes the messages that it does not report as
        failed. Returns how many there were."""
        messages = self.receive()
        if messages:
            failed = self.deliver(*[json.loads(message["Body"]) for message in messages])
            if failed:
                raise Failed(f"the worker reports {failed} as failed")
            self.delete(messages)
        return len(messages)

    def deliver(self, *bodies):
        """Lets the worker carry out these messages. Returns those that it reports as failed."""
        event = event_of(WORKER)
        record = event["Records"][0]
        event["Records"] = [{**record, "messageId": str(n), "body": json.dumps(body)} for n, body in enumerate(bodies)]
        return self.invoke(WORKER, event)["batchItemFailures"]

    def sweep(self):
        """Runs the sweeper. If one of its calls fails, its invocation ends with an error."""
        self.invoke(SWEEPER, event_of(SWEEPER))

    def waiting(self):
        """How many messages are on the queue."""
        name = "ApproximateNumberOfMessages"
        asked = self.account.sqs.get_queue_attributes(QueueUrl=self.account.queue_url, AttributeNames=[name])
        return int(asked["Attributes"][name])

    def take_messages(self):
        """Takes all messages off the queue. Returns the ids of their tasks."""
        tasks = []
        while messages := self.receive():
            tasks += [json.loads(message["Body"])["task_id"] for message in messages]
            self.delete(messages)
        return tasks

    def lose_messages(self):
        """Takes all messages off the queue, so that they are lost. Returns how many there were."""
        return len(self.take_messages())

    def receive(self):
        received = self.account.sqs.receive_message(QueueUrl=self.account.queue_url, MaxNumberOfMessages=10, WaitTimeSeconds=0)
        return received.get("Messages", [])

    def delete(self, messages):
        for message in messages:
            self.account.sqs.delete_message(QueueUrl=self.account.queue_url, ReceiptHandle=message["ReceiptHandle"])


def event_of(function):
    return json.loads((ROOT / "events" / f"{function}.json").read_text())


def build():
    """Builds the functions and returns the binaries by their names. They have the features of
    `cargo test --workspace`, so that after it they only have to be linked."""
    command = ["cargo", "build", "--workspace", "--exclude", "local", "--bins", "--locked", "--message-format=json"]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, env=os.environ)
    if done.returncode != 0:
        raise Failed("the functions do not compile")
    messages = map(json.loads, done.stdout.splitlines())
    return {message["target"]["name"]: message["executable"] for message in messages if message.get("executable")}
