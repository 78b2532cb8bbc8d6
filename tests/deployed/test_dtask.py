"""Tests of the command line, with profiles of the AWS configuration. The account checks the
signatures."""

import json
import subprocess
import tempfile
from pathlib import Path

from account import REGION, environment
from service import DeployedTest


class CommandLine(DeployedTest):
    """Calls by dtask."""

    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory(prefix="deletion-tasks-home-")
        cls.addClassCleanup(folder.cleanup)
        cls.home = Path(folder.name)

    def setUp(self):
        credentials = {"caller": self.caller.credentials, "stranger": self.service.stranger.credentials}
        lines = [
            f"[{name}]\naws_access_key_id={key.access_key}\naws_secret_access_key={key.secret_key}\n"
            for name, key in credentials.items()
        ]
        lines.append(f"[wrong]\naws_access_key_id={self.caller.credentials.access_key}\naws_secret_access_key={'x' * 40}\n")
        (self.home / "credentials").write_text("\n".join(lines))

    def dtask(self, *arguments, profile="caller", **more):
        """Runs dtask as a user whose home has only a file of profiles."""
        env = environment(
            HOME=str(self.home), AWS_SHARED_CREDENTIALS_FILE=str(self.home / "credentials"), AWS_EC2_METADATA_DISABLED="true", **more
        )
        if not profile:
            for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
                del env[name]
        # The address is on this machine, so the options say that calls must be signed, and for
        # which region.
        options = ["--api", self.caller.base, "--sign", "--region", REGION, *(["--profile", profile] if profile else [])]
        return subprocess.run(
            [self.service.dtask, *options, *arguments], env=env, capture_output=True, encoding="utf-8", timeout=120, stdin=subprocess.DEVNULL
        )

    def test_a_task_is_created_awaited_and_shown_with_a_profile(self):
        self.service.vectors.put("embed-456", ["by-dtask"])
        name = self.service.new_name("löschen/50%+~*🗑")
        done = self.dtask("run", "embed-456", "by-dtask", "absent/ü%2F", "--task-id", name, "--reason", "Ticket 4711", "--wait", "--json")
        self.assertEqual(done.returncode, 0, done.stderr)
        task = json.loads(done.stdout)
        self.assertEqual((task["id"], task["status"], task["progress"]["deleted"]), (name, "done", 1))
        self.assertTrue(task["created_by"].endswith(":user/caller"), task["created_by"])
        listed = self.dtask("list", "--model", "embed-456", "--since", "1h", "--all", "--json")
        self.assertIn(name, [json.loads(line)["id"] for line in listed.stdout.splitlines()])
        outcomes = self.dtask("outcomes", name, "--csv")
        self.assertEqual(outcomes.stdout.splitlines()[1:], [f"{name},by-dtask,deleted,", f"{name},absent/ü%2F,failed,Object not found in index"])
        restarted = self.dtask("restart", name, "--scope", "all", "--json")
        self.assertEqual(json.loads(restarted.stdout)["attempt"], 2, restarted.stderr)
        shown = self.dtask("info", name)
        self.assertRegex(shown.stdout, "control +last restarted or canceled by arn:.*:user/caller\n")

    def test_a_refusal_says_what_to_change(self):
        refused = self.dtask("list", profile="stranger")
        self.assertEqual(refused.returncode, 1, refused.stderr)
        self.assertIn("Allow execute-api:Invoke on arn:aws:execute-api:", refused.stderr)
        self.assertIn("/GET/internal/deletion-tasks/list", refused.stderr)
        wrong = self.dtask("list", profile="wrong")
        self.assertEqual(wrong.returncode, 1, wrong.stderr)
        for profile in (None, "nobody"):
            missing = self.dtask("list", profile=profile)
            self.assertEqual(missing.returncode, 2, missing.stderr)
            self.assertIn("There are no AWS credentials to sign with", missing.stderr)
