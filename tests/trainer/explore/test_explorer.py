"""A running trainer's answers to the pages' questions about the pool."""

from tests.trainer.learning import teach, truth, wait_for
from tests.trainer.logs import batch, class_rows, label_rows


def test_similar_clusters_and_map_show_no_test_image(client):
    teach(client, range(4))
    wait_for(lambda: client.get("/status").json()["embedding"]["done"] == 60)
    on_the_map = wait_for(lambda: (shown := client.get("/map").json()).get("total") == 40 and shown)
    assert sorted(on_the_map["image_ids"]) == list(range(40))
    assert len(on_the_map["x"]) == len(on_the_map["y"]) == on_the_map["total"] == 40
    sample = client.get("/map", params={"limit": 7}).json()
    assert (sample["total"], len(sample["image_ids"])) == (40, 7)
    similar = client.get("/similar", params={"image_id": 0, "limit": 5}).json()["similar"]
    assert {truth(found["image_id"]) for found in similar} == {truth(0)}
    clusters = client.get("/clusters", params={"count": 2, "limit": 40}).json()["clusters"]
    shown = [image for cluster in clusters for image in cluster["image_ids"]]
    assert sorted(shown) == list(range(40))
    asked = client.get("/map", params={"layout": "umap"}).json()  # works with umap-learn installed, and without
    assert (asked["layout"], asked["x"]) == ("pca", on_the_map["x"])
    assert asked["computing"] == ("umap" in asked["layouts"])
    assert asked["computing"] or "needs umap-learn" in asked["problem"]
    assert client.get("/similar", params={"image_id": 50}).status_code == 404
    labeled = client.get("/similar", params={"image_id": 20, "labeled": True}).json()["similar"]
    assert sorted(found["image_id"] for found in labeled) == list(range(4))


def test_a_wrong_label_is_in_doubt_and_its_neighbours_speak_for_another(client):
    rows = class_rows("red", "blue") + label_rows(
        [(image, truth(image) if image != 7 else 1) for image in range(30)], after=2
    )
    client.post("/annotations", json=batch(rows, catalog=60).model_dump(mode="json"))
    found = wait_for(lambda: (f := client.get("/label-issues").json()).get("judged") == 30 and f)
    (issue,) = found["issues"]
    assert (issue["image_id"], issue["label_name"], issue["proposed_name"]) == (7, "red", "blue")
    assert issue["agreeing"] == issue["neighbours"] == 10
    assert issue["evidence"]
    assert all(truth(near["image_id"]) == 2 and near["image_id"] < 30 for near in issue["evidence"])


def test_doubts_follow_a_fix_and_no_test_image_is_ever_doubted(client, trainer):
    wrong = {7: 1, 45: 1}  # image 45 is a test image
    rows = class_rows("red", "blue") + label_rows(
        [(image, wrong.get(image, truth(image))) for image in [*range(30), *range(40, 60)]], after=2
    )
    client.post("/annotations", json=batch(rows, catalog=60).model_dump(mode="json"))
    found = wait_for(lambda: (f := client.get("/label-issues").json()).get("judged") == 30 and f)
    assert [issue["image_id"] for issue in found["issues"]] == [7]
    fix = label_rows([(7, 2)], after=52)[0].model_copy(update={"action": "settle"})
    client.post("/annotations", json=batch([fix], catalog=60).model_dump(mode="json"))
    after = client.get("/label-issues").json()
    assert (after["issues"], after["acked_seq"]) == ([], 53)
