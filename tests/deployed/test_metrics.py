"""Tests of the metrics in the functions' log lines, as CloudWatch reads them. MiniStack makes no
metrics from log lines."""

from programs import until
from service import DeployedTest
from test_template import own_metrics


class Metrics(DeployedTest):
    """The embedded metric format, in the namespace of the stack."""

    def counted(self, function, task_id=None):
        """The sum of each metric over a function's log lines (about one task)."""
        sums = {}
        for line in self.service.log_lines(function):
            if "_aws" not in line or task_id not in (None, line.get("task_id")):
                continue
            (directive,) = line["_aws"]["CloudWatchMetrics"]
            self.assertEqual(directive["Namespace"], self.service.stack.outputs["MetricsNamespace"])
            self.assertEqual(directive["Dimensions"], [[]])
            for metric in directive["Metrics"]:
                sums[metric["Name"]] = sums.get(metric["Name"], 0) + line[metric["Name"]]
        return sums

    def assert_counted(self, function, task_id, expected):
        """Checks that the function counts exactly this about the task."""
        until(f"{function} has counted", lambda: self.counted(function, task_id), self.service.patience)
        counted = {name: value for name, value in self.counted(function, task_id).items() if value}
        self.assertEqual(counted, expected)

    def test_each_task_and_each_object_is_counted_once_by_its_end(self):
        model = self.service.new_name("counted")
        self.service.vectors.index(model, ["a", "b"])
        done = self.created(model, ["a", "b", "absent"])["id"]
        failed = self.created("no-such-index", ["a"])["id"]
        self.service.deliver(False)
        self.addCleanup(self.service.deliver, True)
        canceled = self.created(model, ["a"])["id"]
        for _ in range(2):
            self.assertEqual(self.caller.cancel(canceled).status, 200)
        self.service.deliver(True)
        self.ended(done)
        self.ended(failed, "failed")
        for task_id in (done, failed, canceled):
            self.assert_counted("create-deletion-task", task_id, {"TasksCreated": 1})
        self.assert_counted("deletion-worker", done, {"TasksDone": 1, "ObjectsDeleted": 2, "ObjectsNotFound": 1})
        self.assert_counted("deletion-worker", failed, {"TasksFailed": 1, "ObjectsFailed": 1})
        self.assert_counted("cancel-deletion-task", canceled, {"TasksCanceled": 1})

    def test_what_alarms_and_dashboard_show_is_counted(self):
        # The earlier tests have caused each of them.
        self.service.sweep()
        functions = ["create-deletion-task", "cancel-deletion-task", "deletion-worker", "task-sweeper"]

        def missing():
            return own_metrics() - {name for function in functions for name in self.counted(function)}

        self.assertEqual(len(own_metrics()), 9)
        until("all are counted", lambda: not missing(), self.service.patience)
