"""Tests of a new version on a running stack, and of the stack's removal. These tests come last, in
this order."""

import io
import itertools
import json
import threading
import zipfile

from samcli.yamlhelper import yaml_dump, yaml_parse

from programs import until
from service import DeployedTest
from stack import ROOT

EXAMPLES = ROOT / "examples/events"


def changed_memory(template, _parameters):
    """A change of the template itself: the functions get more memory."""
    template["Globals"]["Function"]["MemorySize"] = 512


class Changes(DeployedTest):
    """The effects of an update and of a removal on tasks."""

    def test_1_an_update_loses_no_task_that_is_in_flight(self):
        model = self.service.new_name("updated")
        self.service.vectors.index(model, [])
        accepted, over = [], threading.Event()

        def create():
            for number in itertools.count():
                # Every fifth task is large.
                objects = [f"obj-{number}-{n}" for n in range(600 if number % 5 == 0 else 3)]
                self.service.vectors.put(model, objects)
                # As callers should do, the test names the task and repeats a call without a
                # response. MiniStack kills running functions, including the worker, when they get
                # new code.
                task_id = f"{model}-{number}"
                while self.caller.run(model, objects, task_id).status != 200:
                    if over.wait(0.1):
                        return
                accepted.append((task_id, objects))
                if over.wait(0.3):
                    return

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
        self.assertGreater(during, 3, "tasks were created while it was deployed")
        for task_id, expected in accepted:
            # The time for a killed worker's lease and the next sweep.
            self.ended(task_id, seconds=70 + 60 + self.service.patience)
            self.assertEqual(self.outcomes(task_id), [(key, "deleted") for key in expected])
            self.assertEqual(self.service.vectors.present(model, expected), set())

    def configuration(self, function):
        """A function's environment."""
        name = self.service.stack.function(function)
        return self.service.functions.get_function_configuration(FunctionName=name)["Environment"]["Variables"]

    def test_2_events_can_be_turned_on_for_a_running_stack(self):
        stack, cloudformation = self.service.stack, self.service.account.client("cloudformation")
        cloudformation.create_stack(StackName="on-end", TemplateBody=(EXAMPLES / "on-end.yaml").read_text())
        cloudformation.get_waiter("stack_create_complete").wait(StackName="on-end", WaiterConfig={"Delay": 1})
        outputs = cloudformation.describe_stacks(StackName="on-end")["Stacks"][0]["Outputs"]
        ended_tasks = outputs[0]["OutputValue"]
        before = self.service.dynamodb.describe_table(TableName=self.service.table)["Table"]
        stack.deploy(changed_memory, EventBusName="default", RetentionDays="30")
        after = self.service.dynamodb.describe_table(TableName=self.service.table)["Table"]
        self.assertEqual(before["TableId"], after["TableId"])
        self.assertEqual(after["StreamSpecification"], {"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"})

        model = self.service.new_name("told")
        objects = [f"obj-{number}" for number in range(1200)]
        self.service.vectors.index(model, objects)
        name = self.created(model, objects)["id"]
        task = self.ended(name)
        events = []

        def is_told():
            received = self.service.queue.receive_message(QueueUrl=ended_tasks, MaxNumberOfMessages=10)
            events.extend(json.loads(message["Body"]) for message in received.get("Messages", []))
            return events

        until("the end of the task is told", is_told, self.service.patience)
        event = events[0]
        self.assertEqual((event["source"], event["detail-type"]), ("deletion-tasks", "Deletion Task Status Change"))
        told = event["detail"]
        self.assertEqual((told.pop("previous_status"), told.pop("sequence") % 1_000_000), ("processing", 5))
        task.pop("failed_item_ids")
        self.assertEqual(told, task)
        # The stream passed on only those writes of the task that changed its status.
        lines = [line for line in self.service.log_lines("task-events") if "told" in line]
        self.assertEqual([sum(line[field] for line in lines) for field in ("records", "told")], [3, 3], lines)

    def test_3_a_state_machine_waits_for_the_end_of_a_task_by_its_event(self):
        cloudformation, states = (self.service.account.client(name) for name in ("cloudformation", "stepfunctions"))
        # MiniStack's Step Functions cannot call an API, so the test makes that call.
        template = yaml_parse((EXAMPLES / "wait-for-task.yaml").read_text())
        machine = template["Resources"]["EraseObjects"]["Properties"]
        machine["Definition"]["States"]["Create"] = {"Type": "Pass", "Next": "IsItOurs"}
        cloudformation.create_stack(
            StackName="wait-for-task",
            TemplateBody=yaml_dump(template),
            Parameters=[{"ParameterKey": "ApiId", "ParameterValue": self.service.stack.api_id}],
            Capabilities=["CAPABILITY_IAM"],
        )
        cloudformation.get_waiter("stack_create_complete").wait(StackName="wait-for-task", WaiterConfig={"Delay": 1})
        outputs = cloudformation.describe_stacks(StackName="wait-for-task")["Stacks"][0]["Outputs"]

        def execution(number, model):
            name = f"erase-{number}"
            given = json.dumps({"created": {"task": {"id": name, "status": "pending"}, "headers": {}}})
            started = states.start_execution(stateMachineArn=outputs[0]["OutputValue"], name=name, input=given)["executionArn"]
            self.created(model, ["absent"], name)

            def has_ended():
                described = states.describe_execution(executionArn=started)
                return described["status"] != "RUNNING" and described

            return until(f"{name} has ended", has_ended, 2 * self.service.patience)

        done = execution(1, "embed-456")
        self.assertEqual(done["status"], "SUCCEEDED", done)
        self.assertEqual(json.loads(done["output"])["ended"]["status"], "done")
        failed = execution(2, "no-such-index")
        self.assertEqual(failed["status"], "FAILED", failed)
        # A task that has already ended sends no event. A create with the same name and other
        # objects is about another task.
        for number, (task, headers, expected) in enumerate(
            [
                ({"id": "erase-1", "status": "done"}, {}, "SUCCEEDED"),
                ({"id": "erase-2", "status": "failed"}, {}, "FAILED"),
                ({"id": "erase-1", "status": "done"}, {"Idempotent-Mismatch": ["true"]}, "FAILED"),
            ]
        ):
            given = json.dumps({"created": {"task": task, "headers": headers}})
            started = states.start_execution(stateMachineArn=outputs[0]["OutputValue"], name=f"again-{number}", input=given)

            def status(started=started):
                described = states.describe_execution(executionArn=started["executionArn"])["status"]
                return described != "RUNNING" and described

            self.assertEqual(until("it has ended", status, self.service.patience), expected)

    def test_4_every_optional_parameter_can_be_deployed(self):
        account = self.service.account
        ec2, sns = account.client("ec2"), account.client("sns")
        vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
        subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.0.0.0/24")["Subnet"]["SubnetId"]
        group = ec2.create_security_group(VpcId=vpc, GroupName="worker", Description="worker")["GroupId"]
        topic = sns.create_topic(Name="alarms")["TopicArn"]
        secret = account.client("secretsmanager").create_secret(Name="password", SecretString="x")["ARN"]
        key = "arn:aws:kms:eu-west-1:000000000000:key/1234abcd-12ab-34cd-56ef-1234567890ab"
        index = "arn:aws:s3vectors:eu-west-1:000000000000:bucket/others/index/*"
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w") as layer:
            layer.writestr("authority.pem", "x")
        published = self.service.functions.publish_layer_version(LayerName="authority", Content={"ZipFile": archive.getvalue()})
        stack = self.service.stack.beside("every-choice")
        stack.deploy(
            ApiCallers="arn:aws:iam::000000000000:role/eraser,arn:aws:iam::111111111111:role/eraser",
            VpcEndpointId="vpce-0123456789abcdef0",
            WorkerLayerArns=published["LayerVersionArn"],
            MaxReadUnits="200",
            MaxWriteUnits="100",
            CreatedTasksAlarmPerHour="5000",
            WriteUnitsAlarmPerHour="100000",
            WorkerSubnetIds=subnet,
            WorkerSecurityGroupIds=group,
            VectorIndexArns=index,
            VectorKmsKeyArns=key,
            VectorStoreSecretArns=secret,
            VectorStoreInvokeArns="arn:aws:lambda:eu-west-1:000000000000:function:bridge",
            Tracing="Active",
            AccessLogs="new-role",
            AlarmTopicArn=topic,
            EventBusName="default",
        )
        self.assertIn("-vpce-0123456789abcdef0.execute-api.", stack.outputs["ApiUrl"])
        role = stack.physical("DeletionWorkerRole")
        policy = account.client("iam").get_role_policy(RoleName=role, PolicyName="deletion-worker")["PolicyDocument"]
        statements = {statement["Sid"]: statement for statement in policy["Statement"]}
        self.assertEqual(statements["FurtherVectors"]["Resource"], [index])
        self.assertEqual(statements["VectorKeys"]["Resource"], [key])
        self.assertEqual(statements["VectorKeys"]["Condition"]["StringEquals"], {"kms:ViaService": "s3vectors.eu-west-1.amazonaws.com"})
        self.assertEqual(statements["VectorStoreSecrets"]["Resource"], [secret])
        self.assertEqual(statements["VectorStoreCalls"]["Resource"], ["arn:aws:lambda:eu-west-1:000000000000:function:bridge"])
        self.assertIn("AttachToVpc", statements)
        worker = self.service.functions.get_function_configuration(FunctionName=stack.function("deletion-worker"))
        self.assertEqual([layer["Arn"] for layer in worker["Layers"]], [published["LayerVersionArn"]])
        alarms = account.client("cloudwatch").describe_alarms(AlarmNamePrefix=stack.name)["MetricAlarms"]
        self.assertEqual({tuple(alarm["AlarmActions"]) for alarm in alarms}, {(topic,)})
        thresholds = {alarm["AlarmName"]: alarm["Threshold"] for alarm in alarms}
        self.assertEqual(thresholds["every-choice-created-tasks"], 5000)
        stack.delete()

    def test_5_removing_the_stack_keeps_the_tasks(self):
        name = self.created("embed-456", ["absent"])["id"]
        self.ended(name)
        self.service.stack.delete()
        table = self.service.dynamodb.describe_table(TableName=self.service.table)["Table"]
        self.assertEqual((table["TableStatus"], table["DeletionProtectionEnabled"]), ("ACTIVE", True))
        kept = self.service.dynamodb.get_item(TableName=self.service.table, Key={"pk": {"S": f"T#{name}"}})
        self.assertEqual(kept["Item"]["status"], {"S": "done"})
        functions = self.service.functions.list_functions()["Functions"]
        self.assertEqual([f["FunctionName"] for f in functions if f["FunctionName"].startswith(self.service.stack.name)], [])
