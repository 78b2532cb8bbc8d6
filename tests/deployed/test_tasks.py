"""Tests of large tasks, of stopped tasks, and of tasks after a failure."""

import json

from programs import until
from service import DeployedTest


class LargeTasks(DeployedTest):
    """Tasks of more than 500 objects, which are carried out in chunks."""

    def setUp(self):
        self.model = self.service.new_name("large")
        self.present = [f"obj-{number}" for number in range(1200)]
        # Every chunk has absent objects.
        self.asked = [f"absent-{n}" if n % 50 == 7 else self.present[n] for n in range(1200)]
        self.service.vectors.index(self.model, self.present)

    def test_every_object_has_its_outcome(self):
        name = self.created(self.model, self.asked)["id"]
        task = self.ended(name)
        self.assertEqual(task["progress"], {"total": 1200, "deleted": 1176, "failed": 24, "remaining": 0})
        expected = [(key, "failed" if key.startswith("absent") else "deleted") for key in self.asked]
        self.assertEqual(self.outcomes(name), expected)
        left = [key for key in self.present if key not in self.asked]
        self.assertEqual(self.service.vectors.present(self.model, self.present), set(left))
        # A repeated create shows the failures too.
        again = self.caller.run(self.model, self.asked, name)
        self.assertEqual((again.status, again.headers.get("idempotent-replayed")), (200, "true"), again.text)
        self.assertEqual(again.json["failed_item_ids"], task["failed_item_ids"])
        self.assertEqual(len(task["failed_item_ids"]), 24)

    def test_a_task_that_is_stopped_half_way_is_finished_by_a_restart(self):
        self.service.deliver(False)
        self.addCleanup(self.service.deliver, True)
        name = self.created(self.model, self.asked)["id"]
        for message in [{"task_id": name, "attempt": 1}, {"task_id": name, "attempt": 1, "chunk": 0}]:
            self.assertEqual(self.service.hand_to_worker(**message)["batchItemFailures"], [])
        failed = [f"absent-{n}" for n in range(500) if n % 50 == 7]
        half = {"total": 1200, "deleted": 490, "failed": 10, "remaining": 700}
        # A restart does not change a processing task. Both responses show the failures so far.
        for call, status in [(self.caller.restart, "processing"), (self.caller.cancel, "canceled")]:
            response = call(name)
            self.assertEqual(response.status, 200, response.text)
            self.assertEqual((response.json["status"], response.json["progress"]), (status, half))
            self.assertEqual([item["object_id"] for item in response.json["failed_item_ids"]], failed)
        self.service.deliver(True)
        response = self.caller.restart(name, attempt="1")
        self.assertEqual((response.status, response.json["attempt"]), (200, 2), response.text)
        task = self.ended(name)
        self.assertEqual(task["progress"], {"total": 1200, "deleted": 1176, "failed": 24, "remaining": 0})
        self.assert_problem(self.caller.restart(name, attempt="1"), 409)
        self.assert_problem(self.caller.cancel(name), 409)


class Recovery(DeployedTest):
    """Recovery from lost and foreign messages."""

    def test_a_task_whose_message_was_lost_is_carried_out(self):
        self.service.deliver(False)
        self.addCleanup(self.service.deliver, True)
        name = self.created("embed-456", ["absent"])["id"]
        until("its message is taken off the queue", lambda: self.lose_message_of(name), self.service.patience)
        self.service.deliver(True)
        # This makes the task due now instead of a minute after its create.
        self.service.dynamodb.update_item(
            TableName=self.service.table,
            Key={"pk": {"S": f"T#{name}"}},
            UpdateExpression="SET due_at = :long_ago",
            ConditionExpression="due_at > :long_ago",
            ExpressionAttributeValues={":long_ago": {"N": "1"}},
        )
        if self.service.schedule:
            self.ended(name, seconds=60 + self.service.patience)
        else:
            self.service.sweep()
            self.ended(name)

    def lose_message_of(self, name):
        """Takes messages off the queue. Returns whether this task's was among them."""
        received = self.service.queue.receive_message(QueueUrl=self.service.queue_url, MaxNumberOfMessages=10)
        names = []
        for message in received.get("Messages", []):
            self.service.queue.delete_message(QueueUrl=self.service.queue_url, ReceiptHandle=message["ReceiptHandle"])
            names.append(json.loads(message["Body"])["task_id"])
        return name in names

    def test_a_foreign_message_goes_to_the_dead_letter_queue(self):
        foreign = self.service.new_name("a foreign message")
        self.service.queue.send_message(QueueUrl=self.service.queue_url, MessageBody=foreign)
        dead_letters = self.service.stack.outputs["DeadLetterQueueUrl"]

        def arrived():
            received = self.service.queue.receive_message(QueueUrl=dead_letters, MaxNumberOfMessages=10)
            return foreign in [message["Body"] for message in received.get("Messages", [])]

        # The worker sends the message there when it first receives it.
        until("it is in the dead-letter queue", arrived, self.service.patience)

    def test_a_task_without_a_store_fails_and_says_so(self):
        task = self.ended(self.created("no-such-index", ["a"])["id"], "failed")
        self.assertTrue(task["detail"], task)


class Schedule(DeployedTest):
    """EventBridge Scheduler and the sweeper."""

    def test_the_schedule_runs_the_sweeper(self):
        def sweeps():
            return sum("due" in line for line in self.service.log_lines("task-sweeper"))

        before = sweeps()
        until("the sweeper has run", lambda: sweeps() > before, 60 + self.service.patience, pause=1)
