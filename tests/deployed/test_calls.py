"""Tests of the five calls, and of who may make them."""

import json
import re

import gateway
from service import DeployedTest
from stack import ROOT
from test_template import api_policy


def documented_example():
    """The README's first example: its request, and the final response of `/info`."""
    readme = (ROOT / "README.md").read_text()
    sent = re.search(r"/run -H 'content-type: application/json' \\\n\s+-d '(.*)'", readme)[1]
    received = re.search(r"```json output\n(\{\n  \"id\": \"delete-xyz\".*?\n\})\n```", readme, re.S)[1]
    return json.loads(sent), json.loads(received)


class Calls(DeployedTest):
    """Calls with permission."""

    def test_the_documented_example_gives_the_documented_response(self):
        sent, expected = documented_example()
        self.service.vectors.put(sent["embedding_model_id"], ["obj-1"])
        sent["task_id"] = self.service.new_name("delete-xyz")
        response = self.caller.call("POST", "/run", body=sent)
        self.assertEqual(response.status, 200, response.text)
        task = self.ended(sent["task_id"])
        expected |= {"id": sent["task_id"], "created_at": task["created_at"], "updated_at": task["updated_at"]}
        # MiniStack, like API Gateway, says who signed the call.
        expected["created_by"] = self.service.account.client("iam").get_user(UserName="caller")["User"]["Arn"]
        self.assertEqual(task, expected)
        self.assertEqual(list(task), list(expected))
        self.assertEqual(self.service.vectors.present("embed-456", ["obj-1", "obj-3"]), {"obj-3"})

    def test_a_repeated_create_returns_the_same_task(self):
        name = self.service.new_name("repeated")
        first = self.caller.run("embed-456", ["absent-1"], name)
        self.assertNotIn("idempotent-replayed", first.headers)
        again = self.caller.run("embed-456", ["absent-1"], name)
        self.assertEqual((again.status, again.headers["idempotent-replayed"]), (200, "true"))
        self.assertNotIn("idempotent-mismatch", again.headers)
        self.assertEqual(again.json["created_at"], first.json["created_at"])
        other = self.caller.run("embed-456", ["absent-2"], name)
        self.assertEqual((other.status, other.headers["idempotent-mismatch"]), (200, "true"))
        self.assertEqual(self.ended(name)["failed_item_ids"][0]["object_id"], "absent-1")

    def test_a_list_pages_through_the_tasks_of_a_model_newest_first(self):
        model = self.service.new_name("listed")
        self.service.vectors.index(model, [])
        names = [self.created(model, ["absent"])["id"] for _ in range(5)]
        for name in names:
            self.ended(name)
        listed, query = [], {"embedding_model_id": model, "status": "done", "limit": "2"}
        while True:
            page = self.caller.list(**query)
            self.assertEqual(page.status, 200, page.text)
            listed += [task["id"] for task in page.json["tasks"]]
            if page.json["next_cursor"] is None:
                break
            query["cursor"] = page.json["next_cursor"]
        self.assertEqual(listed, sorted(names, reverse=True))

    def test_invalid_input_is_refused_with_every_error(self):
        response = self.caller.run("embed-456", ["a", None], taskId="x")
        errors = self.assert_problem(response, 422)["errors"]
        self.assertEqual({error["pointer"] for error in errors}, {"/taskId", "/object_ids/1"})
        errors = self.assert_problem(self.caller.list(limit="0", status="over"), 422)["errors"]
        self.assertEqual({error["parameter"] for error in errors}, {"limit", "status"})
        self.assert_problem(self.caller.call("POST", "/run", body="{"), 400)
        self.assert_problem(self.caller.call("POST", "/run", body="{}", content_type="text/csv"), 415)
        self.assert_problem(self.caller.info("nobody-has-this-name"), 404)
        self.assert_problem(self.caller.cancel("nobody-has-this-name"), 404)

    def test_ids_of_any_letters_arrive_as_they_are(self):
        name = self.service.new_name("löschen/50%+🗑")
        self.created("embed-456", ["absent/ü%2F"], name)
        self.assertEqual(self.ended(name)["failed_item_ids"][0]["object_id"], "absent/ü%2F")

    def test_a_wrong_method_and_an_unknown_path_are_named(self):
        for path, allowed in [("/run", "POST"), ("/info", "GET"), ("/list", "GET"), ("/restart", "PUT"), ("/cancel", "PUT")]:
            response = self.caller.call("DELETE", path)
            self.assert_problem(response, 405)
            self.assertEqual(response.headers["allow"], allowed)
        self.assert_problem(self.caller.call("GET", "/nowhere"), 404)
        # A caller that may make every call of this API also gets the errors for other paths.
        for path in ("//", "//elsewhere/deep"):
            self.assert_problem(self.service.anywhere.call("GET", path), 404)
        # The content types that curl sends by default and that a form sends.
        for content_type in ("application/x-www-form-urlencoded", "multipart/form-data; boundary=b", "text/plain; charset=utf-8"):
            self.assert_problem(self.caller.call("POST", "/nowhere", body="a=b", content_type=content_type), 404)
            self.assert_problem(self.caller.call("POST", "/info", body="a=b", content_type=content_type), 405)
        self.assert_problem(self.caller.call("POST", "/nowhere", body="a", content_type="image/png"), 415)


class Permissions(DeployedTest):
    """Calls without permission."""

    def test_an_unsigned_call_is_refused(self):
        self.assert_problem(self.service.unsigned.info("delete-xyz"), 403)
        self.assert_problem(self.service.unsigned.run("embed-456", ["obj-3"]), 403)

    # MiniStack's own IAM refuses the next two calls, and its words differ from the API's.

    def test_a_caller_without_the_permission_is_refused(self):
        for response in [self.service.stranger.list(), self.service.stranger.run("embed-456", ["obj-3"])]:
            self.assertEqual(response.status, 403, response.text)

    def test_with_named_callers_only_these_may_call_and_only_what_their_own_policies_allow(self):
        client = self.service.account.client("apigateway")
        named = [f"arn:aws:iam::000000000000:user/{name}" for name in ("reader", "stran*")]
        gateway.set_policy(client, self.service.stack.api_id, api_policy(ApiCallers=named))
        self.addCleanup(gateway.set_policy, client, self.service.stack.api_id, None)
        self.assertEqual(self.service.reader.list().status, 200)
        for refused in [
            self.service.reader.run("embed-456", ["obj-3"]),
            self.service.stranger.list(),  # named, without a policy of its own
            self.caller.list(),  # not named
        ]:
            self.assertEqual(refused.status, 403, refused.text)

    def test_a_caller_that_may_only_read_cannot_create_restart_or_cancel(self):
        name = self.created("embed-456", ["absent"])["id"]
        self.assertEqual(self.service.reader.info(name).status, 200)
        self.assertEqual(self.service.reader.list().status, 200)
        for response in [
            self.service.reader.run("embed-456", ["obj-3"]),
            self.service.reader.restart(name),
            self.service.reader.cancel(name),
        ]:
            self.assertEqual(response.status, 403, response.text)
        self.ended(name)
