"""The deployed service under test. All tests share one, because deploying it takes most of the
time."""

import itertools
import json
import unittest

from api import Caller
from programs import until

# The service under test; `main` sets it.
service = None


class Service:
    """The stack, its account, and its callers."""

    def __init__(self, account, stack, vectors, dtask):
        self.account = account
        self.stack = stack
        self.vectors = vectors
        self.dtask = dtask
        allowed = stack.outputs["ApiInvokeArn"]
        self.caller = Caller(stack.api_base, account.user("caller", allowed))
        self.reader = Caller(stack.api_base, account.user("reader", allowed.replace("/*/", "/GET/", 1)))
        self.anywhere = Caller(stack.api_base, account.user("anywhere", allowed.split("/live/")[0] + "/live/*"))
        self.stranger = Caller(stack.api_base, account.user("stranger"))
        self.unsigned = Caller(stack.api_base)
        # How many seconds a task may take. This is enough for a slow machine, but less than the
        # sweeper would need to recover a lost message and hide the loss.
        self.patience = 30
        # Whether the tests wait for the sweeper's schedule, or invoke the sweeper themselves.
        self.schedule = True
        self.numbers = itertools.count(1)
        self.queue_url = stack.outputs["QueueUrl"]
        self.table = stack.outputs["TableName"]
        self.functions = account.client("lambda")
        self.queue = account.client("sqs")
        self.dynamodb = account.client("dynamodb")
        self.logs = account.client("logs")
        mappings = self.functions.list_event_source_mappings(FunctionName=stack.function("deletion-worker"))
        self.mapping = mappings["EventSourceMappings"][0]["UUID"]

    def new_name(self, kind):
        """A new name."""
        return f"{kind}-{next(self.numbers)}"

    def deliver(self, enabled):
        """Lets the queue trigger the worker, or keeps it from doing so."""
        self.functions.update_event_source_mapping(UUID=self.mapping, Enabled=enabled)
        state = "Enabled" if enabled else "Disabled"
        until(
            f"the queue's trigger is {state}",
            lambda: self.functions.get_event_source_mapping(UUID=self.mapping)["State"] == state,
        )

    def hand_to_worker(self, **message):
        """Invokes the worker with one message, as the queue would, and returns its response."""
        record = {"messageId": "by-hand", "body": json.dumps(message), "eventSource": "aws:sqs"}
        return self.invoke("deletion-worker", {"Records": [record]})

    def sweep(self):
        """Invokes the sweeper."""
        return self.invoke("task-sweeper", {})

    def invoke(self, function, event):
        """Invokes a function and returns its response."""
        invoked = self.functions.invoke(FunctionName=self.stack.function(function), Payload=json.dumps(event).encode())
        payload = json.loads(invoked["Payload"].read())
        assert "FunctionError" not in invoked, payload
        return payload

    def log_lines(self, function):
        """The JSON lines that a function has logged."""
        group = f"/aws/lambda/{self.stack.function(function)}"
        pages = self.logs.get_paginator("filter_log_events").paginate(logGroupName=group)
        lines = [event["message"].strip() for page in pages for event in page["events"]]
        return [json.loads(line) for line in lines if line.startswith("{")]


class DeployedTest(unittest.TestCase):
    """A test of the deployed service."""

    maxDiff = None

    @property
    def service(self):
        """The service under test."""
        return service

    @property
    def caller(self):
        """A caller with permission for the API."""
        return service.caller

    def created(self, model, object_ids, task_id=None):
        """Creates a task and returns it."""
        response = self.caller.run(model, object_ids, task_id)
        self.assertEqual(response.status, 200, response.text)
        return response.json

    def shown(self, task_id, **query):
        """A task, as `/info` shows it."""
        response = self.caller.info(task_id, **query)
        self.assertEqual(response.status, 200, response.text)
        return response.json

    def ended(self, task_id, status="done", seconds=None):
        """Waits until a task has ended, checks its status, and returns it."""

        def has_ended():
            task = self.shown(task_id)
            return task["status"] not in ("pending", "processing") and task

        task = until(f"{task_id} has ended", has_ended, seconds or service.patience, pause=0.3)
        self.assertEqual(task["status"], status, task)
        return task

    def outcomes(self, task_id):
        """What happened to each object, page by page to the end: a list of pairs."""
        items, cursor = [], {}
        while True:
            page = self.shown(task_id, outcome="all", **cursor)
            items += [(item["object_id"], item["outcome"]) for item in page["items"]]
            if page["items_cursor"] is None:
                return items
            cursor = {"cursor": page["items_cursor"]}

    def assert_problem(self, response, status):
        """Checks that a response is an error in the service's format."""
        self.assertEqual(response.status, status, response.text)
        self.assertEqual(response.headers["content-type"].split(";")[0], "application/problem+json")
        problem = response.json
        self.assertEqual(problem["status"], status)
        for member in ("type", "title", "detail"):
            self.assertTrue(problem[member], problem)
        return problem
