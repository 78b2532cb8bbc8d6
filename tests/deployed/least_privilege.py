"""Shows that each action of each role is needed. It removes each action in turn in the running
account, and expects a test to fail.

This does not work for actions that MiniStack does not enforce, or that no test needs.
`NOT_ENFORCED` lists them with the reason.
"""

import copy
import io
import json
import re
import unittest
from urllib.parse import unquote

from adjust import SEND, SEND_BATCH

EVENT_SOURCE = "the event source mapping calls it in the function's name (Lambda guide, 'Using Lambda with Amazon SQS')"
LOGS = "Lambda writes the function's log in its name (Lambda guide, 'Sending Lambda function logs to CloudWatch Logs')"
RETURNS = "a message that is handed back comes back sooner with it; no test here waits for one (cargo test -- redelivery does)"
NOT_ENFORCED = {
    "sqs:ReceiveMessage": EVENT_SOURCE,
    "sqs:DeleteMessage": EVENT_SOURCE,
    "sqs:GetQueueAttributes": EVENT_SOURCE,
    "sqs:ChangeMessageVisibility": RETURNS,
    "sqs:ChangeMessageVisibilityBatch": RETURNS,
    "logs:CreateLogStream": LOGS,
    "logs:PutLogEvents": LOGS,
    "lambda:InvokeFunction": "the schedule runs the sweeper with it (EventBridge Scheduler guide, 'Execution role')",
}

ROLES = {
    "CreateDeletionTaskRole": ["test_calls", "test_tasks.LargeTasks"],
    "GetDeletionTaskRole": ["test_calls", "test_tasks.LargeTasks"],
    "ListDeletionTasksRole": ["test_calls"],
    "RestartDeletionTaskRole": ["test_tasks.LargeTasks"],
    "CancelDeletionTaskRole": ["test_tasks.LargeTasks"],
    "DeletionWorkerRole": ["test_calls.Calls", "test_tasks.LargeTasks", "test_tasks.Recovery"],
    "TaskSweeperRole": ["test_tasks.Recovery"],
    "ScheduleRole": [],
}


def tests_fail(names):
    """Runs tests up to the first failure. Returns its name and reason, or None."""
    tests = unittest.defaultTestLoader.loadTestsFromNames(names)
    result = unittest.TextTestRunner(stream=io.StringIO(), failfast=True).run(tests)
    broken = result.failures + result.errors
    if not broken:
        return None
    test, trace = broken[0]
    why = [line for line in trace.splitlines() if re.match(r"\S+(Error|NotInTime|Exception)\b", line)][-1]
    return f"{test.id().rsplit('.', 1)[1]} fails: {why[:110]}"


def listed(value):
    """A value as a list. IAM writes a single value without a list."""
    return value if isinstance(value, list) else [value]


def without(document, number, action):
    """The policy without this action in this statement."""
    document = copy.deepcopy(document)
    statement = document["Statement"][number]
    gone = {action, SEND_BATCH} if action == SEND else {action}
    statement["Action"] = [kept for kept in listed(statement["Action"]) if kept not in gone]
    if not statement["Action"]:
        del document["Statement"][number]
    return document


def read(iam, role, policy):
    """Reads an inline policy of a role."""
    document = iam.get_role_policy(RoleName=role, PolicyName=policy)["PolicyDocument"]
    return document if isinstance(document, dict) else json.loads(unquote(document))


def put(iam, role, policy, document):
    """Replaces an inline policy of a role."""
    if document["Statement"]:
        iam.put_role_policy(RoleName=role, PolicyName=policy, PolicyDocument=json.dumps(document))
    else:
        iam.delete_role_policy(RoleName=role, PolicyName=policy)


def work(service):
    """Removes each action in turn. Returns whether a test failed each time, and no test failed with
    all actions."""
    service.patience = 12
    service.schedule = False
    iam = service.account.client("iam")
    everything = sorted({name for names in ROLES.values() for name in names})
    if broken := tests_fail(everything):
        print(f"With all actions the tests must pass, but {broken}")
        return False
    unneeded, not_shown = [], {}
    for logical, names in ROLES.items():
        role = service.stack.physical(logical)
        for policy in iam.list_role_policies(RoleName=role)["PolicyNames"]:
            document = read(iam, role, policy)
            for number, statement in enumerate(document["Statement"]):
                for action in listed(statement["Action"]):
                    if action == SEND_BATCH:
                        continue
                    if action in NOT_ENFORCED:
                        not_shown.setdefault(action, []).append(logical)
                        continue
                    put(iam, role, policy, without(document, number, action))
                    broken = tests_fail(names)
                    put(iam, role, policy, document)
                    if not broken:
                        unneeded.append((logical, action))
                    print(f"{logical} without {action}: {broken or 'NOTHING FAILS'}", flush=True)
    for action, roles in not_shown.items():
        print(f"Not shown: {action} of {', '.join(roles)}: {NOT_ENFORCED[action]}")
    broken = tests_fail(everything)
    print(f"With all actions again: {broken or 'nothing fails'}")
    return not unneeded and not broken
