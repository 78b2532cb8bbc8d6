"""Checks each bridge of examples/bridges: its types, `store-check` on a scratch index, and a whole
task through `cargo run`. For OpenSearch it also runs opensearch_faults.py."""

import json
import os
import pathlib
import shlex
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import uuid

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from processes import ROOT, Failed, Processes, free_port, listens  # noqa: E402

HERE = ROOT / "tests/bridges"
TASK_SECONDS = 60


def main():
    check_types()
    check_faults()
    with tempfile.TemporaryDirectory() as folder, Processes(folder) as processes:
        for name, start in BRIDGES.items():
            print(f"{name}:", flush=True)
            url, kind, port, ids = start(processes, folder)
            inserting = [sys.executable, str(HERE / "insert.py"), kind, str(port)]
            insert(inserting, "scratch", [ONE[ids]])
            check(f"{url}?index=scratch", [*inserting, "scratch"], ids)
            refuse(url, ONE[ids])
            carry_out(processes, url, inserting, ids)
            print(f"{name}: passes store-check and carries out a task.\n", flush=True)


def check_types():
    bridges = sorted(map(str, (ROOT / "examples/bridges").glob("*.py")))
    if subprocess.run(["mypy", "--strict", "--cache-dir", os.devnull, *bridges]).returncode != 0:
        raise Failed("the bridges' types")


def check_faults():
    if subprocess.run([sys.executable, str(HERE / "opensearch_faults.py")]).returncode != 0:
        raise Failed("the bridge to OpenSearch, where OpenSearch fails")


def chroma(processes, folder):
    chroma, port = free_port(), free_port()
    data = ["--path", f"{folder}/chroma-data", "--host", "127.0.0.1", "--port", str(chroma)]
    processes.start("chroma", ["chroma", "run", *data], lambda _: listens(chroma))
    ports = ["--port", str(port), "--chroma-port", str(chroma)]
    command = [sys.executable, str(ROOT / "examples/bridges/chroma_bridge.py"), *ports]
    processes.start("chroma-bridge", command, lambda _: listens(port))
    return f"http://127.0.0.1:{port}/chroma", "chroma", chroma, "text"


def qdrant(*field):
    def start(processes, _folder):
        port, inserts = free_port(), free_port()
        command = [sys.executable, str(HERE / "qdrant_local.py"), str(port), str(inserts), *field]
        processes.start(f"qdrant-bridge{len(field)}", command, lambda _: listens(port) and listens(inserts))
        return f"http://127.0.0.1:{port}/qdrant", "qdrant", inserts, "text" if field else "uuid"

    return start


def opensearch(*field):
    def start(processes, _folder):
        port, inserts = free_port(), free_port()
        command = [sys.executable, str(HERE / "opensearch_emulated.py"), str(port), str(inserts), *field]
        processes.start(f"opensearch-bridge{len(field)}", command, lambda _: listens(port))
        return f"http://127.0.0.1:{port}/opensearch", "opensearch-field" if field else "opensearch", inserts, "text"

    return start


BRIDGES = {
    "Chroma": chroma,
    "Qdrant, by its own ids": qdrant(),
    "Qdrant, by a field": qdrant("object_id"),
    "OpenSearch, by `_id`": opensearch(),
    "OpenSearch, by a field": opensearch("object_id"),
}
# An id of each kind.
ONE = {"text": "object", "uuid": "018f9c2e-0000-7000-8000-000000000001"}


def insert(inserting, index, ids):
    subprocess.run([*inserting, index], input="\n".join(ids).encode(), check=True)


def check(url, inserting, ids):
    command = ["cargo", "run", "--quiet", "--locked", "-p", "store-check", "--", url]
    done = subprocess.run([*command, "--insert", shlex.join(inserting), "--ids", ids], cwd=ROOT)
    if done.returncode != 0:
        raise Failed("the bridge does not keep the contract")


def refuse(url, one):
    """Checks what the contract does not cover: calls that do not follow the protocol."""
    for body, operation, status in [
        ({"index": "scratch", "ids": [one]}, "delete", 400),
        ({"index": "scratch", "ids": one}, "present", 400),
        ({"index": "scratch", "ids": [1]}, "present", 400),
        ([], "present", 400),
        ({"index": "scratch", "ids": []}, "forget", 404),
    ]:
        found = call(f"{url}/{operation}", body)[0]
        if found != status:
            raise Failed(f"{operation} {body}: expected {status}, got {found}")


def carry_out(processes, url, inserting, kind):
    ids = [str(uuid.UUID(int=number)) if kind == "uuid" else f"object-{number}" for number in range(1, 1202)]
    ids, absent = ids[:1200], ids[1200]
    insert(inserting, "embed-4", ids)
    service = processes.start_service("--vector-stores", json.dumps({"*": url}))
    api = f"{service['API']}/internal/deletion-tasks"
    call(f"{api}/run", {"task_id": "t", "embedding_model_id": "embed-4", "object_ids": [*ids, absent]})
    for _ in range(TASK_SECONDS * 10):
        with urllib.request.urlopen(f"{api}/info?task_id=t") as response:
            task = json.load(response)
        if task["status"] not in ("pending", "processing"):
            break
        time.sleep(0.1)
    expected = {"total": 1201, "deleted": 1200, "failed": 1, "remaining": 0}
    if (task["status"], task["progress"]) != ("done", expected):
        raise Failed(f"the task ended as {task}")
    if any(call(f"{url}/present", {"index": "embed-4", "ids": ids[:500]})[1]["present"]):
        raise Failed("an object that counts as deleted is there")
    processes.stop("cargo-run")


def call(url, body):
    headers = {"Content-Type": "application/json", "Deletion-Tasks-Protocol": "1"}
    request = urllib.request.Request(url, json.dumps(body).encode(), headers)
    try:
        with urllib.request.urlopen(request) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


if __name__ == "__main__":
    try:
        main()
    except Failed as failed:
        sys.exit(f"FAILED: {failed}")
