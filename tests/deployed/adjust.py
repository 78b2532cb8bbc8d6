"""The changes of the built template that MiniStack needs. Each is one function, whose docstring says why.

Everything else is deployed as it is in template.yaml.
"""

from pathlib import Path

from samcli.yamlhelper import yaml_dump, yaml_parse

SEND = "sqs:SendMessage"
SEND_BATCH = "sqs:SendMessageBatch"
CHANGE = "sqs:ChangeMessageVisibility"


def queues_without_tls(template, _parameters):
    """The queues' policies deny calls without TLS, but MiniStack is called over plain HTTP."""
    for name, resource in list(template["Resources"].items()):
        if resource["Type"] == "AWS::SQS::QueuePolicy":
            del template["Resources"][name]


def maximum_concurrency_as_a_number(template, parameters):
    """MiniStack passes parameters on as text, but accepts an event source's maximum concurrency only as a number."""
    worker = template["Resources"]["DeletionWorkerFunction"]["Properties"]
    default = template["Parameters"]["WorkerConcurrency"]["Default"]
    scaling = worker["Events"]["Queue"]["Properties"]["ScalingConfig"]
    scaling["MaximumConcurrency"] = int(parameters.get("WorkerConcurrency", default))


def no_metric_math(template, _parameters):
    """MiniStack rejects alarms on an expression. None of its alarms gets data anyway."""
    for name, resource in list(template["Resources"].items()):
        if resource["Type"] == "AWS::CloudWatch::Alarm" and "Metrics" in resource["Properties"]:
            del template["Resources"][name]
            dashboard = template["Resources"]["Dashboard"]["Properties"]["DashboardBody"]
            dashboard["Fn::Sub"] = dashboard["Fn::Sub"].replace(f'"${{{name}.Arn}}", ', "")


def batch_calls_by_name(template, _parameters):
    """In AWS an action such as sqs:SendMessage includes its batch call, which is no action of its own; MiniStack requires one."""
    for resource in template["Resources"].values():
        for policy in resource["Properties"].get("Policies", []):
            for statement in policy["PolicyDocument"]["Statement"]:
                if statement.get("Action") == SEND:
                    statement["Action"] = [SEND, SEND_BATCH]
                elif CHANGE in statement.get("Action", []):
                    statement["Action"] = [*statement["Action"], f"{CHANGE}Batch"]


def any_bus_described(template, _parameters):
    """In AWS events:DescribeEventBus is allowed on the bus. MiniStack takes the name in its request for the name of a rule."""
    for resource in template["Resources"].values():
        for policy in resource["Properties"].get("Policies", []):
            for statement in policy["PolicyDocument"]["Statement"]:
                if "events:DescribeEventBus" in statement.get("Action", []):
                    statement["Resource"] = "*"


CHANGES = [queues_without_tls, maximum_concurrency_as_a_number, no_metric_math, batch_calls_by_name, any_bus_described]


def adjust(built: Path, adjusted: Path, parameters, further_changes=()):
    """Writes the changed template, which is then deployed."""
    template = yaml_parse(built.read_text())
    for change in [*CHANGES, *further_changes]:
        change(template, parameters)
    adjusted.write_text(yaml_dump(template))


def describe():
    """The changes, one line for each."""
    return [f"{change.__name__}: {' '.join(change.__doc__.split())}" for change in CHANGES]
