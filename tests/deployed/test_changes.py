"""A new version on a running stack, and the stack's removal. These tests come last, in this order."""

import io
import itertools
import threading
import zipfile

from processes import until
from service import DeployedTest


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
                # Every fifth is a large one.
                objects = [f"obj-{number}-{n}" for n in range(600 if number % 5 == 0 else 3)]
                self.service.vectors.put(model, objects)
                # As callers should, name the task and repeat a call without a response. MiniStack kills running functions,
                # the worker too, when they get new code.
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
            # A killed worker's lease, and the next sweep.
            self.ended(task_id, seconds=70 + 60 + self.service.patience)
            self.assertEqual(self.outcomes(task_id), [(key, "deleted") for key in expected])
            self.assertEqual(self.service.vectors.present(model, expected), set())

    def configuration(self, function):
        """A function's environment."""
        name = self.service.stack.function(function)
        return self.service.functions.get_function_configuration(FunctionName=name)["Environment"]["Variables"]

    def test_2_every_optional_parameter_can_be_deployed(self):
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
            VectorStorePasswordSecretArn=secret,
            Tracing="Active",
            AccessLogs="new-role",
            AlarmTopicArn=topic,
        )
        self.assertIn("-vpce-0123456789abcdef0.execute-api.", stack.outputs["ApiUrl"])
        role = stack.physical("DeletionWorkerRole")
        policy = account.client("iam").get_role_policy(RoleName=role, PolicyName="deletion-worker")["PolicyDocument"]
        statements = {statement["Sid"]: statement for statement in policy["Statement"]}
        self.assertEqual(statements["FurtherVectors"]["Resource"], [index])
        self.assertEqual(statements["VectorKeys"]["Resource"], [key])
        self.assertEqual(statements["VectorKeys"]["Condition"]["StringEquals"], {"kms:ViaService": "s3vectors.eu-west-1.amazonaws.com"})
        self.assertEqual(statements["VectorStorePassword"]["Resource"], secret)
        self.assertIn("AttachToVpc", statements)
        worker = self.service.functions.get_function_configuration(FunctionName=stack.function("deletion-worker"))
        self.assertEqual([layer["Arn"] for layer in worker["Layers"]], [published["LayerVersionArn"]])
        alarms = account.client("cloudwatch").describe_alarms(AlarmNamePrefix=stack.name)["MetricAlarms"]
        self.assertEqual({tuple(alarm["AlarmActions"]) for alarm in alarms}, {(topic,)})
        thresholds = {alarm["AlarmName"]: alarm["Threshold"] for alarm in alarms}
        self.assertEqual(thresholds["every-choice-created-tasks"], 5000)
        stack.delete()

    def test_3_removing_the_stack_keeps_the_tasks(self):
        name = self.created("embed-456", ["absent"])["id"]
        self.ended(name)
        self.service.stack.delete()
        table = self.service.dynamodb.describe_table(TableName=self.service.table)["Table"]
        self.assertEqual((table["TableStatus"], table["DeletionProtectionEnabled"]), ("ACTIVE", True))
        kept = self.service.dynamodb.get_item(TableName=self.service.table, Key={"pk": {"S": f"T#{name}"}})
        self.assertEqual(kept["Item"]["status"], {"S": "done"})
        functions = self.service.functions.list_functions()["Functions"]
        self.assertEqual([f["FunctionName"] for f in functions if f["FunctionName"].startswith(self.service.stack.name)], [])
