"""A new version over a running stack, and the stack's end. These come last, in this order."""

import threading

from processes import until
from service import DeployedTest


def changed_memory(template, _parameters):
    """A change of the template itself: the functions get more memory."""
    template["Globals"]["Function"]["MemorySize"] = 512


class Changes(DeployedTest):
    """What a deployment does to tasks, and what the removal of the stack leaves."""

    def test_1_an_update_loses_no_task_that_is_in_flight(self):
        model = self.service.new_name("updated")
        objects = [f"obj-{number}" for number in range(30 * 600)]
        self.service.vectors.index(model, objects)
        accepted, refused, over = [], [], threading.Event()

        def create():
            for start in range(0, len(objects), 600):
                if over.is_set():
                    return
                answer = self.caller.run(model, objects[start : start + 600])
                if answer.status == 200:
                    accepted.append((answer.json["id"], objects[start : start + 600]))
                else:
                    refused.append(answer)
                over.wait(0.5)

        creating = threading.Thread(target=create)
        creating.start()
        self.addCleanup(creating.join)
        self.addCleanup(over.set)
        until("the first task is accepted", lambda: accepted)
        before = self.configuration("deletion-worker")
        self.service.stack.deploy(changed_memory, LogLevel="debug", WorkerConcurrency="3", RetentionDays="30")
        during = len(accepted)
        until("a task is accepted by the new version", lambda: len(accepted) > during)
        over.set()
        creating.join()

        after = self.configuration("deletion-worker")
        self.assertEqual((before["LOG_LEVEL"], after["LOG_LEVEL"]), ("info", "debug"))
        self.assertEqual(before["TABLE_NAME"], after["TABLE_NAME"])
        self.assertEqual(refused, [])
        self.assertGreater(during, 3, "tasks were created while it was deployed")
        for task_id, expected in accepted:
            self.ended(task_id, seconds=120)
            self.assertEqual(self.outcomes(task_id), [(key, "deleted") for key in expected])
        gone = [key for _, keys in accepted for key in keys]
        self.assertEqual(self.service.vectors.present(model, objects), set(objects) - set(gone))

    def configuration(self, function):
        """A function's environment."""
        name = self.service.stack.function(function)
        return self.service.functions.get_function_configuration(FunctionName=name)["Environment"]["Variables"]

    def test_2_removing_the_stack_keeps_the_tasks(self):
        name = self.created("embed-456", ["absent"])["id"]
        self.ended(name)
        self.service.stack.delete()
        table = self.service.dynamodb.describe_table(TableName=self.service.table)["Table"]
        self.assertEqual((table["TableStatus"], table["DeletionProtectionEnabled"]), ("ACTIVE", True))
        kept = self.service.dynamodb.get_item(TableName=self.service.table, Key={"pk": {"S": f"T#{name}"}})
        self.assertEqual(kept["Item"]["status"], {"S": "done"})
        functions = self.service.functions.list_functions()["Functions"]
        self.assertEqual([f["FunctionName"] for f in functions if f["FunctionName"].startswith(self.service.stack.name)], [])
