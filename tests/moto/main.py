"""Carries out tasks with the built functions over moto's server (https://docs.getmoto.org), which
replaces DynamoDB, SQS and S3 Vectors. `run` calls this.

The embedded services of the tests were chosen by this project and are called through its own
listeners. moto is independent of both. What holds over both does not rely on a peculiarity of one
of them. The functions are the binaries of `cargo build`. Each is a process with the variables that
template.yaml gives it, behind a small Runtime API (`function.py`). moto creates the table and the
queues from template.yaml (`account.py`). The steps of the story are below, in order. Each step
begins with the table as the earlier steps have left it.
"""

import itertools
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from account import Account  # noqa: E402
from processes import Failed  # noqa: E402
from service import Service  # noqa: E402

ABSENT = "Object not found in index"


def expect(what, found, expected):
    """Fails unless two values are the same."""
    if found != expected:
        raise Failed(f"{what}: expected {expected!r}, found {found!r}")
    print(f"{what}: as expected")


def progress(total, deleted, failed):
    """A task's counters, as a response shows them."""
    return {"total": total, "deleted": deleted, "failed": failed, "remaining": total - deleted - failed}


def example(service, account):
    """The first example of README.md: one object is there, one is not."""
    account.vectors.index("embed-456", [f"obj-{n}" for n in range(1, 1001) if n != 2])
    task = service.run("embed-456", ["obj-1", "obj-2"], "delete-xyz").json
    expect("a new task", (task["status"], task["attempt"], task["progress"]), ("pending", 1, progress(2, 0, 0)))
    service.work()
    task = service.info("delete-xyz").json
    expect("the example's status and counters", (task["status"], task["progress"]), ("done", progress(2, 1, 1)))
    expect("its failures", task["failed_item_ids"], [{"object_id": "obj-2", "detail": ABSENT}])
    expect("what is left in the index", account.vectors.present("embed-456", ["obj-1", "obj-2", "obj-3"]), {"obj-3"})


def replay_and_mismatch(service, _account):
    """A repeated create returns the stored task, and says so; one of other objects says that, too."""
    again = service.run("embed-456", ["obj-2", "obj-1"], "delete-xyz")
    told = {name.lower(): value for name, value in again.headers.items() if name.lower().startswith("idempotent")}
    expect("a repeated create", (again.json["status"], told), ("done", {"idempotent-replayed": "true"}))
    other = service.run("embed-456", ["obj-3"], "delete-xyz")
    told = {name.lower(): value for name, value in other.headers.items() if name.lower().startswith("idempotent")}
    expect("one of other objects", told, {"idempotent-replayed": "true", "idempotent-mismatch": "true"})
    expect("no message was sent", service.waiting(), 0)


def restart_and_cancel(service, account):
    """A restart tries what was not deleted. A cancel stops the task, and its message then does nothing."""
    account.vectors.put("embed-456", ["obj-2"])
    task = service.restart("delete-xyz", attempt=1).json
    expect("a restarted task", (task["status"], task["attempt"], task["progress"]), ("pending", 2, progress(2, 1, 0)))
    expect("a restart of an older attempt", service.restart("delete-xyz", attempt=1, status=409).json["status"], 409)
    task = service.cancel("delete-xyz").json
    expect("a canceled task", (task["status"], task["progress"]), ("canceled", progress(2, 1, 0)))
    service.work()
    expect("its object", account.vectors.present("embed-456", ["obj-2"]), {"obj-2"})
    service.restart("delete-xyz")
    service.work()
    task = service.info("delete-xyz").json
    expect("restarted once more", (task["status"], task["attempt"], task["progress"]), ("done", 3, progress(2, 2, 0)))
    expect("a cancel of a task that is done", service.cancel("delete-xyz", status=409).json["status"], 409)


def several_chunks(service, account):
    """1,200 objects are three chunks; absent ones are in each. Their outcomes are in the request's order, over two pages."""
    keys = [f"key-{n}" for n in range(1200)]
    asked = [f"absent-{n}" if n % 50 == 7 else keys[n] for n in range(1200)]
    account.vectors.index("large", keys)
    service.run("large", asked, "large")
    messages = service.work()
    expect("messages: one for the task, one for each chunk", messages, 4)
    task = service.info("large").json
    expect("a large task", (task["status"], task["progress"]), ("done", progress(1200, 1176, 24)))
    expected = [(key, "failed" if key.startswith("absent") else "deleted") for key in asked]
    expect("its outcomes", len(service.outcomes("large")) == 1200 and service.outcomes("large") == expected, True)
    expect("what is left of its index", account.vectors.present("large", keys), set(keys) - set(asked))
    again = service.run("large", asked, "large").json
    expect("the failures that a repeated create shows", len(again["failed_item_ids"]), 24)


def cancel_half_way(service, account):
    """A large task that is canceled after one of its chunks keeps what was deleted; a restart does the rest."""
    keys = [f"key-{n}" for n in range(1200)]
    account.vectors.index("half", keys)
    service.run("half", keys, "half")
    service.work_once()  # it fans out
    service.deliver({"task_id": "half", "attempt": 1, "chunk": 1})
    task = service.cancel("half").json
    expect("canceled after a chunk", (task["status"], task["progress"]), ("canceled", progress(1200, 500, 0)))
    service.work()
    expect("the other chunks", account.vectors.present("half", keys), set(keys[:500] + keys[1000:]))
    service.restart("half")
    service.work()
    task = service.info("half").json
    expect("after a restart", (task["status"], task["progress"]), ("done", progress(1200, 1200, 0)))


def missing_index(service, _account):
    """A task of an index that does not exist fails, and says why; a restart of everything is refused while it is pending."""
    service.run("nowhere", ["a"], "lost-index")
    service.work()
    task = service.info("lost-index").json
    expect("a task without an index", (task["status"], task["failed_item_ids"][0]["object_id"]), ("failed", "a"))
    expect("its detail names the index", "nowhere" in task["detail"], True)
    service.restart("lost-index", scope="all")
    expect("restarted while it is pending", service.restart("lost-index", scope="all", status=409).json["status"], 409)
    service.cancel("lost-index")
    service.work()


def sweeps(service, account):
    """The sweeper sends a task whose message was lost once it is due, and puts its next send off."""
    for name in ["lost-1", "lost-2"]:
        service.run("embed-456", ["obj-10"] if name == "lost-1" else ["obj-11", "gone"], name)
    expect("messages that are lost", service.lose_messages(), 2)
    service.sweep()
    expect("sent by a sweep before they are due", service.waiting(), 0)
    for name in ["lost-1", "lost-2"]:
        account.change_task(name, "SET due_at = :then", {":then": {"N": "1"}})
    service.sweep()
    expect("sent by a sweep when they are due", service.waiting(), 2)
    service.sweep()
    expect("waiting after the next sweep", service.waiting(), 2)
    service.work()
    tasks = [service.info(name).json for name in ["lost-1", "lost-2"]]
    found = [(task["status"], task["progress"]) for task in tasks]
    expect("lost and found", found, [("done", progress(1, 1, 0)), ("done", progress(2, 1, 1))])


def goes_on_where_it_stopped(service, account):
    """A sweep goes on after the place that the last one stored, and closes the ring."""
    for name in ["a", "b", "c"]:
        service.run("embed-456", ["obj-20"], name)
        account.change_task(name, "SET due_at = :then", {":then": {"N": "1"}})
    service.lose_messages()
    place = account.task("b")
    entry = " ".join([place["list_pk"]["S"], place["list_sk"]["S"]])
    after = [
        name
        for name in ["a", "b", "c"]
        for row in [account.task(name)]
        if row["list_pk"] != place["list_pk"] or row["list_sk"]["S"] > place["list_sk"]["S"]
    ]
    account.put_item({"pk": {"S": "SWEEP"}, "positions": {"L": [{"S": entry}]}})
    service.sweep()
    expect("sent by a sweep that goes on", sorted(service.take_messages()), after)
    expect("where the next one goes on", account.item("SWEEP")["positions"], {"L": []})
    service.sweep()
    expect("sent by the next sweep", sorted(service.take_messages()), sorted({"a", "b", "c"} - set(after)))
    for name in ["a", "b", "c"]:
        service.cancel(name)


def lists(service, _account):
    """Pages of a list are newest first, repeat nothing and leave nothing out; with a filter, too."""
    names = [f"listed-{n}" for n in range(7)]
    for name in names:
        service.run("listed", ["x"], name)
    found = service.listed(limit=3, status="pending", embedding_model_id="listed")
    expect("listed by status and model", sorted(found), names)
    everything = service.listed(limit=4)
    expect("listed, all", len(everything) == len(set(everything)) and set(names) < set(everything), True)
    expect("a damaged cursor", service.list(cursor="x", status=None, expected=422).json["status"], 422)


STORY = [
    example,
    replay_and_mismatch,
    restart_and_cancel,
    several_chunks,
    cancel_half_way,
    missing_index,
    sweeps,
    goes_on_where_it_stopped,
    lists,
]


def main():
    """Plays the story."""
    with tempfile.TemporaryDirectory() as folder, Account(Path(folder)) as account, Service(account, Path(folder)) as service:
        for number, step in zip(itertools.count(1), STORY):
            print(f"\n{number}. {step.__doc__}")
            try:
                step(service, account)
            except Failed as failed:
                raise Failed(f"{failed}\n{service.logs()}") from None
    print(f"\n{len(STORY)} steps went as expected over moto's server.")


if __name__ == "__main__":
    try:
        main()
    except Failed as failed:
        sys.exit(f"FAILED: {failed}")
