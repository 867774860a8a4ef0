"""Saved versions through the routes of a running trainer."""

import pytest
from typer.testing import CliRunner

import flywheel
from tests.trainer.learning import client, photos, picture, settings_for, teach, trainer, wait_for  # noqa: F401


@pytest.fixture
def taught(client):  # noqa: F811
    teach(client, [*range(12), *range(40, 60)])
    wait_for(lambda: client.get("/status").json()["metrics"].get("test_labels") == 20)
    return client


def say(client, path, **more):  # noqa: F811
    answer = client.post(path, **more)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_a_version_says_everything_about_itself(taught):
    say(taught, "/models", json={"name": "first"})
    version = taught.get("/models/first").json()
    assert version["learner"] == "head"
    assert version["architecture"] == "pixels"
    assert version["labels_by_class"] == {"red": 6, "blue": 6}
    assert version["metrics"]["accuracy"]["n"] == 20
    assert version["metrics"]["accuracy"]["low"] < version["metrics"]["accuracy"]["high"]
    assert version["bytes"] > 1000
    assert version["config"]["backbone"] == "pixels"
    assert version["seconds"] > 0
    assert taught.get("/models/second").status_code == 404
    assert taught.post("/models", json={"name": "first"}).status_code == 409


def test_a_version_saved_between_two_evaluations_says_how_good_it_is(taught):
    before = taught.get("/status").json()["round"]
    taught.patch("/settings", json={"eval_and_query_every": 50})
    wait_for(lambda: taught.get("/status").json()["round"] > before)
    acked = teach(taught, range(12, 20), after=34)
    say(taught, "/models", json={"name": "between"})
    version = taught.get("/models/between").json()
    assert (version["labels"], version["metrics"]["labels"], version["metrics"]["acked_seq"]) == (20, 20, acked)
    assert taught.get("/evaluations").json()["evaluations"][-1]["labels"] == 20


def test_the_promoted_version_answers_until_rolled_back(taught, trainer):  # noqa: F811
    say(taught, "/models", json={"name": "first"})
    upload = [("images", ("x.png", picture((220, 30, 30), 7), "image/png"))]
    live = say(taught, "/predict", files=upload)
    assert say(taught, "/models/first/promote")["promoted"] == "first"
    saved = say(taught, "/predict", files=upload)
    assert saved["model_version"] == "first"
    assert saved["predictions"][0]["probabilities"] == pytest.approx(live["predictions"][0]["probabilities"], abs=1e-4)
    by_id = say(taught, "/predict", json={"image_ids": [30, 31]})
    assert [each["label"] for each in by_id["predictions"]] == ["red", "blue"]
    assert say(taught, "/predict?version=now", files=upload)["model_version"] == live["model_version"]
    assert taught.post("/predict?version=gone", files=upload).status_code == 404
    assert taught.delete("/models/first").status_code == 409
    assert say(taught, "/models/rollback")["promoted"] is None
    assert say(taught, "/predict", files=upload)["model_version"] == live["model_version"]
    assert taught.delete("/models/first").status_code == 200


def test_a_version_that_cannot_answer_is_not_promoted(taught, trainer):  # noqa: F811
    say(taught, "/models", json={"name": "first"})
    trainer.registry.get("first").model_file.write_bytes(b"\x80\x04pickle")
    answer = taught.post("/models/first/promote")
    assert answer.status_code == 422
    assert "pickle" in answer.json()["detail"]
    assert taught.get("/models").json()["promoted"] is None


def test_unneeded_versions_are_deleted(taught):
    for name in ("first", "second", "third"):
        say(taught, "/models", json={"name": name})
    say(taught, "/models/second/promote")
    say(taught, "/stop")
    saved = wait_for(lambda: taught.get("/status").json()["saved"])
    looked = taught.delete("/models?dry_run=true").json()
    pruned = taught.delete("/models").json()
    assert looked == pruned
    assert sorted(pruned["deleted"]) == ["first", "third"]
    assert set(pruned["kept"]) == {"second", saved["model_version"]}


def test_a_renamed_class_answers_under_its_new_name(taught, trainer):  # noqa: F811
    from tests.trainer.logs import batch, class_rows

    say(taught, "/models", json={"name": "first"})
    say(taught, "/models/first/promote")
    renamed = class_rows("scarlet")[0].model_copy(update={"seq": 35, "action": "class_renamed", "label": 1})
    assert taught.post("/annotations", json=batch([renamed], catalog=60).model_dump(mode="json")).status_code == 200
    upload = [("images", ("x.png", picture((220, 30, 30), 7), "image/png"))]
    assert say(taught, "/predict", files=upload)["predictions"][0]["label"] == "scarlet"


def test_the_command_line_shows_promotes_and_deletes(taught, monkeypatch):
    import httpx

    def through(asked):
        path = asked.url.raw_path.decode()
        answer = taught.request(asked.method, path, content=asked.content, headers={"content-type": "application/json"})
        return httpx.Response(answer.status_code, content=answer.content)

    def reaching(url, *, seconds=10.0, token=None):
        assert seconds > 0
        return httpx.Client(base_url=url, transport=httpx.MockTransport(through))

    monkeypatch.setattr("commands.running.reach.client", reaching)

    def run(*words):
        return CliRunner().invoke(flywheel.app, ["models", *words], env={"COLUMNS": "200"}, catch_exceptions=True)

    assert "Saved" in run("save", "first").output
    assert "not measured" not in run("list").output
    first = run("promote", "first").output
    assert "promoted" in first
    assert "in use now" not in first  # no warning: it is the current model
    shown = run("show", "first").output
    assert "red (6), blue (6)" in shown
    one = taught.get("/models/first").json()
    assert one["all_bytes"] >= one["bytes"]
    assert "is promoted" in str(run("delete", "first").exception)
    say(taught, "/models", json={"name": "second"})
    same = run("compare", "first", "second", "--recorded", "--min-delta", "accuracy=0.01")
    assert (same.exit_code, "Keep first: 0 of 1 checks passed" in same.output) == (1, True)
    better = run("compare", "first", "second", "--recorded", "--min-delta", "bytes=0", "--rule", "any", "--promote")
    assert (better.exit_code, "Update to second" in better.output) == (0, True)
    assert "promoted" in run("list").output.splitlines()[-2]
    assert "not a number" in str(run("compare", "first", "second", "--min-delta", "accuracy=much").exception)
    jobs = CliRunner().invoke(flywheel.app, ["jobs", "list"], env={"COLUMNS": "200"})
    assert jobs.output.count("compare") == 2
    run("rollback")
    run("rollback")
    assert "Deleted: second, first" in run("delete", "--unneeded").output
    assert run("delete").exit_code == 2
