"""Tests of the script in examples/clients, with the generated client. The account checks the
signatures."""

import os
import subprocess
import tempfile
from pathlib import Path

from account import REGION, environment
from service import DeployedTest
from stack import ROOT

EXAMPLES = ROOT / "examples/clients"
# A call whose query has characters that must be encoded for the signature in the way that API
# Gateway decodes them.
LIST = """
import sys
from delete_objects import connect, succeeded
from deletion_tasks_client.api.deletion_tasks import list_deletion_tasks
client = connect(*sys.argv[1:])
page, _ = succeeded(lambda: list_deletion_tasks.sync_detailed(client=client, embedding_model_id="a model + 50%~*"))
print(page.to_dict())
"""


class GeneratedClient(DeployedTest):
    """Calls by the generated client."""

    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory(prefix="deletion-tasks-client-")
        cls.addClassCleanup(folder.cleanup)
        cls.programs = Path(os.environ["CLIENTS_DIR"]) / "bin"
        cls.client = Path(folder.name) / "client"
        command = ["openapi-python-client", "generate", "--path", ROOT / "docs/openapi.yaml", "--output-path", cls.client, "--fail-on-warning"]
        # The generator starts its formatter by name.
        env = os.environ | {"PATH": f"{cls.programs}:{os.environ['PATH']}"}
        subprocess.run(command, env=env, check=True, stdout=subprocess.DEVNULL)

    def python(self, *arguments, secret=None):
        """Runs Python with the caller's key. Another secret makes wrong signatures."""
        credentials = self.caller.credentials
        env = environment(
            AWS_ACCESS_KEY_ID=credentials.access_key,
            AWS_SECRET_ACCESS_KEY=secret or credentials.secret_key,
            PYTHONPATH=f"{self.client}:{EXAMPLES}",
            PYTHONIOENCODING="utf-8",
        )
        command = [self.programs / "python", *arguments]
        return subprocess.run(command, env=env, capture_output=True, encoding="utf-8", timeout=60)

    def test_the_script_signs_its_calls(self):
        script = [EXAMPLES / "delete_objects.py", "--api", self.caller.base]
        self.service.vectors.put("embed-456", ["signed"])
        name = self.service.new_name("löschen/50%+🗑")
        arguments = ["--region", REGION, "--task-id", name, "embed-456", "signed", "absent/ü%2F"]
        done = self.python(*script, *arguments)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(done.stdout, "signed\tdeleted\t\nabsent/ü%2F\tfailed\tObject not found in index\n")
        self.assertEqual(self.shown(name)["status"], "done")

        refused = self.python(*script, "embed-456", "absent")
        self.assertEqual((refused.returncode, refused.stdout), (1, ""))
        self.assertIn("403 Forbidden", refused.stderr)
        wrong = self.python(*script, *arguments, secret="x" * 40)
        self.assertEqual((wrong.returncode, wrong.stdout), (1, ""))
        self.assertIn("403 Forbidden", wrong.stderr)

    def test_a_query_is_signed_as_it_is_sent(self):
        listed = self.python("-c", LIST, self.caller.base, REGION)
        self.assertEqual(listed.stdout.strip(), "{'tasks': [], 'next_cursor': None}", listed.stderr)
