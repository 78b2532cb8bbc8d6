"""Tests of what the template must contain. They need no deployment, and mainly check what MiniStack
does not emulate."""

import json
import re
import unittest

from samcli.yamlhelper import yaml_parse

from stack import ROOT, TEMPLATE

template = yaml_parse(TEMPLATE.read_text())
resources = template["Resources"]
api = resources["Api"]["Properties"]
NO_VALUE = {"Ref": "AWS::NoValue"}
# Statements whose actions do not support resource ARNs.
WITHOUT_RESOURCE = {"Trace", "AttachToVpc", "NotByItsCode"}


def of_type(name):
    """The resources of a type."""
    return {logical: resource for logical, resource in resources.items() if resource["Type"] == name}


functions = of_type("AWS::Serverless::Function")


def statements(policy):
    """A policy's statements, including those that a parameter adds."""
    for statement in policy["PolicyDocument"]["Statement"]:
        yield statement["Fn::If"][1] if "Fn::If" in statement else statement


def listed(value):
    """A value as a list, if it is not one."""
    return value if isinstance(value, list) else [value]


class Parameters(unittest.TestCase):
    """The parameters."""

    def test_each_is_described_constrained_and_has_a_default(self):
        for name, parameter in template["Parameters"].items():
            with self.subTest(name):
                self.assertGreater(len(parameter["Description"]), 20)
                self.assertIn("Default", parameter)
                bounded = {"MinValue", "MaxValue"} <= parameter.keys()
                self.assertTrue(bounded or "AllowedValues" in parameter or "AllowedPattern" in parameter)
                if "AllowedPattern" in parameter:
                    self.assertIn("ConstraintDescription", parameter)
                    self.assertRegex(parameter["Default"], parameter["AllowedPattern"])

    def test_a_deployment_without_a_vector_store_is_refused(self):
        # With only the defaults every task would fail.
        (condition,) = template["Rules"]["SomeVectorStore"]["Assertions"]
        self.assertEqual(condition["Assert"], {"Fn::Not": [{"Fn::Equals": [{"Ref": "VectorBucketName"}, ""]}]})
        self.assertEqual(template["Rules"]["SomeVectorStore"]["RuleCondition"], {"Fn::Equals": [{"Ref": "VectorStores"}, ""]})
        for name in ("VectorBucketName", "VectorStores"):
            self.assertEqual(template["Parameters"][name]["Default"], "")

    def test_an_arn_names_one_thing_but_for_the_indexes_of_one_bucket(self):
        index = "arn:aws:s3vectors:eu-west-1:123456789012:bucket/vectors/index/"
        key = "arn:aws:kms:eu-west-1:123456789012:key/"
        for name, good, bad in [
            ("VectorIndexArns", [index + "a", index + "*"], [index, index.replace("vectors/", "*/") + "a", index.replace("eu-west-1", "*") + "a"]),
            ("VectorKmsKeyArns", [key + "1234abcd-12ab-34cd-56ef-1234567890ab"], [key + "*", key.replace("key/", "alias/") + "a"]),
        ]:
            pattern = template["Parameters"][name]["AllowedPattern"]
            for arn in good:
                self.assertRegex(arn, pattern)
            for arn in bad:
                self.assertNotRegex(arn, pattern)

    def test_each_stands_in_one_group(self):
        groups = template["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]
        grouped = [name for group in groups for name in group["Parameters"]]
        self.assertEqual(sorted(grouped), sorted(template["Parameters"]))


class Roles(unittest.TestCase):
    """Least privilege, as far as the template shows it."""

    def test_each_function_has_a_role_and_a_log_group_of_its_own(self):
        self.assertEqual(len(functions), 8)
        roles = [function["Properties"]["Role"]["Fn::GetAtt"][0] for function in functions.values()]
        self.assertEqual(len(set(roles)), 8)
        for logical, function in functions.items():
            with self.subTest(logical):
                log_group = function["Properties"]["LoggingConfig"]["LogGroup"]["Ref"]
                group = resources[log_group]["Properties"]
                self.assertEqual(group["RetentionInDays"], {"Ref": "LogRetentionDays"})
                suffix = group["LogGroupName"]["Fn::Sub"].removeprefix("/aws/lambda/")
                self.assertEqual(function["Properties"]["FunctionName"], {"Fn::Sub": suffix})
                self.assertNotIn("Policies", function["Properties"])

    def test_each_names_its_actions_and_their_resources(self):
        roles = {**of_type("AWS::IAM::Role"), **of_type("AWS::IAM::Policy")}
        for logical, role in roles.items():
            if logical == "ApiGatewayLogRole":
                continue
            properties = role["Properties"]
            self.assertNotIn("ManagedPolicyArns", properties, logical)
            for policy in properties.get("Policies", [properties]):
                for statement in statements(policy):
                    with self.subTest(logical, sid=statement["Sid"]):
                        wildcard = "*" in listed(statement["Resource"])
                        self.assertEqual(wildcard, statement["Sid"] in WITHOUT_RESOURCE)
                        if statement["Effect"] == "Allow":
                            self.assertFalse([action for action in listed(statement["Action"]) if "*" in action])


    def test_the_worker_decrypts_through_s3_vectors_only(self):
        (policy,) = resources["DeletionWorkerRole"]["Properties"]["Policies"]
        (keys,) = [statement for statement in statements(policy) if statement["Sid"] == "VectorKeys"]
        self.assertEqual((keys["Action"], keys["Resource"]), ("kms:Decrypt", {"Ref": "VectorKmsKeyArns"}))
        service = {"Fn::Sub": "s3vectors.${AWS::Region}.${AWS::URLSuffix}"}
        self.assertEqual(keys["Condition"], {"StringEquals": {"kms:ViaService": service}})


class Data(unittest.TestCase):
    """The table and the queues."""

    def test_the_table_outlives_the_stack(self):
        table = resources["TaskTable"]
        self.assertEqual((table["DeletionPolicy"], table["UpdateReplacePolicy"]), ("Retain", "Retain"))
        properties = table["Properties"]
        self.assertTrue(properties["DeletionProtectionEnabled"])
        self.assertTrue(properties["SSESpecification"]["SSEEnabled"])
        self.assertTrue(properties["PointInTimeRecoverySpecification"]["PointInTimeRecoveryEnabled"])
        self.assertEqual(properties["TimeToLiveSpecification"], {"AttributeName": "expires_at", "Enabled": True})

    def test_the_table_and_its_index_have_the_limits_that_are_given(self):
        table = resources["TaskTable"]["Properties"]
        for given, expected in [
            ({}, None),
            ({"MaxReadUnits": "200", "MaxWriteUnits": "100"}, {"MaxReadRequestUnits": "200", "MaxWriteRequestUnits": "100"}),
            ({"MaxWriteUnits": "-1"}, {"MaxWriteRequestUnits": "-1"}),
        ]:
            for limited in (table, *table["GlobalSecondaryIndexes"]):
                self.assertEqual(resolved(limited["OnDemandThroughput"], **given), expected)

    def test_the_queues_are_encrypted_and_take_calls_over_tls_only(self):
        policies = of_type("AWS::SQS::QueuePolicy").values()
        queues = of_type("AWS::SQS::Queue")
        self.assertEqual(len(queues), 2)
        for logical, queue in queues.items():
            self.assertTrue(queue["Properties"]["SqsManagedSseEnabled"])
            denials = [p["Properties"] for p in policies if p["Properties"]["Queues"] == [{"Ref": logical}]]
            (statement,) = denials[0]["PolicyDocument"]["Statement"]
            expected = ("Deny", "*", "sqs:*", {"Fn::GetAtt": [logical, "Arn"]})
            self.assertEqual(tuple(statement[m] for m in ("Effect", "Principal", "Action", "Resource")), expected)
            self.assertEqual(statement["Condition"], {"Bool": {"aws:SecureTransport": "false"}})

    def test_a_message_is_not_delivered_twice_while_its_worker_may_run(self):
        worker = functions["DeletionWorkerFunction"]["Properties"]
        queue, dead = resources["TaskQueue"]["Properties"], resources["TaskDeadLetterQueue"]["Properties"]
        self.assertGreaterEqual(queue["VisibilityTimeout"], 6 * worker["Timeout"])
        trigger = worker["Events"]["Queue"]["Properties"]
        self.assertEqual(trigger["FunctionResponseTypes"], ["ReportBatchItemFailures"])
        self.assertEqual(trigger["ScalingConfig"], {"MaximumConcurrency": {"Ref": "WorkerConcurrency"}})
        self.assertGreater(dead["MessageRetentionPeriod"], queue["MessageRetentionPeriod"])
        # The longest task id, with every character escaped, and two 32-bit numbers.
        longest = json.dumps({"task_id": '"' * 255, "attempt": 2**32 - 1, "chunk": 2**32 - 1})
        self.assertGreaterEqual(queue["MaximumMessageSize"], len(longest))

    def test_the_functions_get_the_variables_that_are_read(self):
        read = set(re.findall(r"^//! \| `([A-Z_]+)`", (ROOT / "shared/src/config.rs").read_text(), re.M))
        given = {"LOG_LEVEL", "TLS_ROOTS"}
        for function in functions.values():
            given |= function["Properties"]["Environment"]["Variables"].keys()
        # A template has no password. A store's URL names a secret instead.
        self.assertEqual(given, read - {"VECTOR_STORE_PASSWORD", "VECTOR_STORE_TOKEN"})


def api_policy(**given):
    """The API's resource policy with these parameters; None if there is none."""
    return resolved(api["DefinitionBody"]["x-amazon-apigateway-policy"], **given)


def resolved(part, **given):
    """A part of the template with these parameters, as CloudFormation resolves it."""
    parameters = {
        **{name: [""] if p["Type"] == "CommaDelimitedList" else p["Default"] for name, p in template["Parameters"].items()},
        "AWS::AccountId": "000000000000",
        "AWS::Partition": "aws",
        "AWS::NoValue": None,
        **given,
    }
    functions_of = {
        "Ref": lambda name: parameters[name],
        "Condition": lambda name: of(template["Conditions"][name]),
        "Fn::Equals": lambda pair: pair[0] == pair[1],
        "Fn::Not": lambda one: not one[0],
        "Fn::Or": any,
        "Fn::Select": lambda pair: pair[1][int(pair[0])],
        "Fn::Sub": lambda text: re.sub(r"\$\{([\w:]+)\}", lambda name: parameters[name[1]], text),
    }

    def of(value):
        if isinstance(value, list):
            return [one for one in map(of, value) if one is not None]
        if not isinstance(value, dict):
            return value
        name, *others = value
        # In an IAM policy "Condition" is an ordinary member next to others.
        if not others and name == "Fn::If":
            condition, then, otherwise = value[name]
            return of(then if of(template["Conditions"][condition]) else otherwise)
        if not others and name in functions_of:
            return functions_of[name](of(value[name]))
        members = {name: of(one) for name, one in value.items()}
        return {name: one for name, one in members.items() if one is not None}

    return of(part)


def mock_status(operation, content_type):
    """The status of a mock integration's response, according to "Method request behavior for
    payloads without mapping templates" and "Mock integrations for REST APIs" in the API Gateway
    Developer Guide."""
    integration = operation["x-amazon-apigateway-integration"]
    template = integration["requestTemplates"].get(content_type or "application/json")
    if template is None:
        # If the body were passed through, it would have to name the status itself.
        return "500" if integration["passthroughBehavior"] == "when_no_match" else "415"
    status = str(json.loads(template)["statusCode"])
    response = integration["responses"]["default"]
    assert response["statusCode"] == status and status in operation["responses"]
    return status


class Api(unittest.TestCase):
    """API Gateway."""

    def test_its_own_errors_are_problems(self):
        for response_type, response in api["GatewayResponses"].items():
            with self.subTest(response_type):
                self.assertEqual(response["ResponseParameters"]["Headers"]["Content-Type"], "'application/problem+json'")
                body = response["ResponseTemplates"]["application/json"]
                problem = json.loads(body.replace("$context.error.messageString", '"why"'))
                self.assertEqual(list(problem), ["type", "title", "status", "detail"])
                self.assertEqual(str(problem["status"]), response["StatusCode"])

    def test_a_wrong_method_is_told_the_right_one(self):
        calls = {}
        for function in functions.values():
            event = function["Properties"]["Events"].get("Call")
            if event:
                calls[event["Properties"]["Path"]] = event["Properties"]["Method"].upper()
        paths = dict(api["DefinitionBody"]["paths"])
        for unknown in ("/", "/{path+}"):
            del paths[unknown]
        told = {}
        for path, methods in paths.items():
            response = methods["x-amazon-apigateway-any-method"]["x-amazon-apigateway-integration"]["responses"]["default"]
            self.assertIn(f"takes {calls[path]}", response["responseTemplates"]["application/json"])
            told[path] = response["responseParameters"]["method.response.header.Allow"].strip("'")
        self.assertEqual(told, calls)

    def test_a_wrong_call_is_told_so_whatever_text_it_sends(self):
        statuses = {path: "404" if path in ("/", "/{path+}") else "405" for path in api["DefinitionBody"]["paths"]}
        for content_type in (None, "application/json", "application/x-www-form-urlencoded", "multipart/form-data", "text/plain"):
            told = {
                path: mock_status(methods["x-amazon-apigateway-any-method"], content_type)
                for path, methods in api["DefinitionBody"]["paths"].items()
            }
            self.assertEqual(told, statuses, content_type)

    def test_every_call_is_signed(self):
        self.assertEqual(api["Auth"]["DefaultAuthorizer"], "AWS_IAM")
        for function in functions.values():
            self.assertNotIn("Auth", function["Properties"]["Events"].get("Call", {}).get("Properties", {}))

    def test_with_a_vpc_endpoint_it_is_private_and_lets_in_through_it_only(self):
        endpoint = api["EndpointConfiguration"]
        self.assertEqual(endpoint["Type"], {"Fn::If": ["IsPrivate", "PRIVATE", "REGIONAL"]})
        self.assertEqual(endpoint["VPCEndpointIds"], {"Fn::If": ["IsPrivate", [{"Ref": "VpcEndpointId"}], NO_VALUE]})
        policy = api_policy(VpcEndpointId="vpce-1")
        allow, deny = policy["Statement"]
        self.assertEqual((deny["Effect"], deny["Principal"], deny["Resource"]), ("Deny", "*", "execute-api:/*"))
        self.assertEqual(deny["Condition"], {"StringNotEquals": {"aws:SourceVpce": "vpce-1"}})
        # The principal is not "*", which would allow callers of the account who have no permission
        # of their own.
        self.assertEqual(allow["Principal"], {"AWS": "arn:aws:iam::000000000000:root"})

    def test_named_callers_are_the_only_ones_through_the_endpoint_too(self):
        self.assertIsNone(api_policy())
        named = ["arn:aws:iam::111111111111:role/eraser"]
        for more in ({}, {"VpcEndpointId": "vpce-1"}):
            policy = api_policy(ApiCallers=named, **more)
            statements = {statement["Sid"]: statement for statement in policy["Statement"]}
            allowed = {sid for sid, statement in statements.items() if statement["Effect"] == "Allow"}
            self.assertEqual(allowed, {"AccountDecides", "NamedCallersOfOtherAccounts"})
            # `test_calls` shows the effect of these two.
            conditions = {
                "ArnLike": {"aws:PrincipalArn": named},
                "StringNotEquals": {"aws:PrincipalAccount": "000000000000"},
            }
            self.assertEqual(statements["NamedCallersOfOtherAccounts"]["Condition"], conditions)
            self.assertEqual(statements["NamedCallersOnly"]["Condition"], {"ArnNotLike": {"aws:PrincipalArn": named}})
            self.assertEqual("ThroughTheEndpointOnly" in statements, bool(more))


class DataPoint:
    """A data point of a metric with the arithmetic of CloudWatch. A point that would be divided by
    zero is dropped, and a missing one counts as 0 ("Using metric math"). The result for a metric
    that never had a value is not documented. Here its quotient has no value."""

    def __init__(self, value):
        self.value = value

    def __add__(self, other):
        return DataPoint((self.value or 0) + (other.value or 0))

    def __rmul__(self, factor):
        return DataPoint(self.value and factor * self.value)

    def __truediv__(self, other):
        return DataPoint((self.value or 0) / other.value if other.value else None)


def own_metrics():
    """The service's own metrics in the alarms and the dashboard."""
    shown = json.loads(resources["Dashboard"]["Properties"]["DashboardBody"]["Fn::Sub"])["widgets"]
    rows = [row for widget in shown for row in widget["properties"].get("metrics", [])]
    names = {row[1] for row in rows if row[0].startswith("DeletionTasks/")}
    for alarm in of_type("AWS::CloudWatch::Alarm").values():
        metrics = [alarm["Properties"], *(m.get("MetricStat", {}).get("Metric", {}) for m in alarm["Properties"].get("Metrics", []))]
        names |= {m["MetricName"] for m in metrics if isinstance(m.get("Namespace"), dict)}
    return names


class Watching(unittest.TestCase):
    """Alarms and dashboard."""

    def test_every_alarm_says_what_to_do_and_notifies_the_topic(self):
        topic = {"Fn::If": ["HasAlarmTopic", [{"Ref": "AlarmTopicArn"}], NO_VALUE]}
        self.assertEqual(len(of_type("AWS::CloudWatch::Alarm")), 12)
        for logical, alarm in of_type("AWS::CloudWatch::Alarm").items():
            with self.subTest(logical):
                properties = alarm["Properties"]
                self.assertEqual((properties["AlarmActions"], properties["OKActions"]), (topic, topic))
                self.assertGreater(len(properties["AlarmDescription"]), 120)
                self.assertLess(len(properties["AlarmDescription"]), 1024)

    def test_the_alarm_on_failed_tasks_goes_off_in_any_stack(self):
        alarm = resources["FailedTasksAlarm"]["Properties"]
        (expression,) = [metric["Expression"] for metric in alarm["Metrics"] if "Expression" in metric]

        def goes_off(done, failed):
            point = eval(expression, {"done": DataPoint(done), "failed": DataPoint(failed)}).value  # noqa: S307
            return point is not None and point >= template["Parameters"]["FailedTasksAlarmPercent"]["Default"]

        self.assertEqual((alarm["ComparisonOperator"], alarm["TreatMissingData"]), ("GreaterThanOrEqualToThreshold", "notBreaching"))
        # The alarm works even if no task was ever done, because the sweeper counts zeros
        # (`cargo test -p tests --test suite a_sweep_tells`).
        self.assertTrue(goes_off(done=0, failed=3))
        self.assertTrue(goes_off(done=9, failed=1))
        self.assertFalse(goes_off(done=10, failed=1))
        self.assertFalse(goes_off(done=5, failed=None))
        self.assertFalse(goes_off(done=0, failed=None))

    def test_the_dashboard_is_json_and_shows_every_alarm(self):
        body = resources["Dashboard"]["Properties"]["DashboardBody"]["Fn::Sub"]
        widgets = json.loads(body)["widgets"]
        alarms = [name[2:-5] for name in widgets[0]["properties"]["alarms"]]
        always = [name for name, alarm in of_type("AWS::CloudWatch::Alarm").items() if "Condition" not in alarm]
        self.assertEqual(sorted(alarms), sorted(always))
        for name in re.findall(r"\$\{(\w+)[.}]", body):
            self.assertIn(name, resources)
