"""Splits drawn again: shares, classes, folders, and images answered here."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labeler.errors import Conflict
from labeler.images.splits import deal
from labeler.service import Service
from shared.wire.dataset import SplitPart, SplitPost
from tests.labeler.projects import answer, labeler, photo, photos

pytestmark = pytest.mark.usefixtures("both_stores")

SHARES = st.fixed_dictionaries({"test": st.floats(0, 0.5), "validation": st.floats(0, 0.49)})
SPLITS = st.lists(st.sampled_from(["train", "validation", "test"]), max_size=20)


@given(sizes=st.lists(st.integers(1, 6), max_size=40), shares=SHARES, here=SPLITS, seed=st.integers(0, 9))
def test_each_share_is_met_as_nearly_as_the_units_allow(
    sizes: list[int], shares: Any, here: list[Any], seed: int
) -> None:
    start, units = 0, []
    for size in sizes:
        units.append(list(range(start, start + size)))
        start += size
    dealt = deal(units, shares, here, Random(seed))
    assert dealt == deal(units, shares, here, Random(seed))
    assert sorted(dealt) == list(range(start))
    assert all(len({dealt[image] for image in unit}) == 1 for unit in units)
    counts = Counter(dealt.values())
    for split, share in shares.items():
        wanted = max(0, round(share * (start + len(here))) - here.count(split))
        assert counts[split] <= wanted + max(sizes, default=0) / 2


def splits(service: Service) -> Counter[str]:
    return Counter(service.tally.splits.values())


def test_each_class_in_the_same_shares_and_recorded(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 40)
    with labeler(tmp_path) as service:
        service.annotate(
            [answer(n, "cat" if n <= 30 else "dog", source="import", annotator="import") for n in range(1, 41)]
        )
        post = SplitPost(test=0.2, validation=0.1, by="class", seed=3)
        before = service.log.last_seq
        looked = service.splitting.draw(post.model_copy(update={"dry_run": True}))
        assert service.log.last_seq == before
        drawn = service.splitting.draw(post)
        assert drawn == looked
        assert drawn.splits == {"train": 28, "validation": 4, "test": 8} == splits(service)
        tested = [image for image, split in service.tally.splits.items() if split == "test"]
        assert Counter(service.log.fold.labels[image] for image in tested) == {1: 6, 2: 2}
        rows = service.log.page(before, 100).annotations
        assert {row.reason for row in rows} == {"test 0.2, validation 0.1 by class, seed 3"}
        assert service.splitting.draw(post).moved == 0  # the same seed draws the same


def test_images_answered_here_stay_in_their_split(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 30)
    with labeler(tmp_path) as service:
        service.catalog.move([1, 2], "test")
        service.annotate([answer(image) for image in (1, 2, 3, 4, 5)])
        drawn = service.splitting.draw(SplitPost(test=0.5))
        assert drawn.kept == 5
        assert [service.tally.splits[image] for image in (1, 2, 3, 4, 5)] == ["test", "test", *["train"] * 3]
        assert splits(service)["test"] == 15
        service.splitting.draw(SplitPost(test=0.0))
        assert splits(service) == {"train": 28, "test": 2}


def test_the_images_of_a_folder_stay_together(tmp_path: Path) -> None:
    for number in range(40):
        photo(tmp_path / "photos" / f"patient {number // 4}" / f"{number}.png", number)
    with labeler(tmp_path) as service:
        service.splitting.draw(SplitPost(test=0.3, by="folder", seed=1))
        folder_of = {entry.id: entry.uri.split("/")[0] for entry in service.catalog.entries(0, 100)}
        together: dict[str, set[str]] = {}
        for image, split in service.tally.splits.items():
            together.setdefault(folder_of[image], set()).add(split)
        assert all(len(each) == 1 for each in together.values())
        assert splits(service)["test"] == 12


GROUPED = st.fixed_dictionaries(
    {
        "groups": st.dictionaries(st.integers(1, 12), st.sampled_from("abcd"), min_size=1),
        "answered": st.sets(st.integers(1, 12), max_size=5),
        "before": st.dictionaries(st.integers(1, 12), st.sampled_from(["train", "validation", "test"])),
        "post": st.fixed_dictionaries(
            {"test": st.floats(0, 0.5), "validation": st.floats(0, 0.4), "seed": st.integers(-(2**63), 2**63 - 1)}
        ),
    }
)


@settings(max_examples=25, deadline=None)
@given(GROUPED)
def test_groups_never_straddle_but_where_people_answered_both(case: Any) -> None:
    groups, answered = case["groups"], case["answered"]
    with TemporaryDirectory() as folder, labeler(_twelve(Path(folder))) as service:
        for image, split in case["before"].items():
            service.catalog.move([image], split)
        service.annotate([answer(image) for image in answered])
        kept = {image: service.tally.splits[image] for image in answered}
        drawn = service.splitting.draw(SplitPost(by="group", groups=groups, how="by hand", **case["post"]))
        now = dict(service.tally.splits)
        assert kept.items() <= now.items()
        torn = 0
        for group in set(groups.values()):
            members = [image for image, name in groups.items() if name == group]
            asked = {kept[image] for image in members if image in kept}
            assert len({now[image] for image in members}) == 1 or len(asked) > 1
            torn += len(asked) > 1
        assert drawn.torn == torn
        assert drawn.splits == {"train": 0, "validation": 0, "test": 0} | Counter(now.values())
        moves = [row for row in service.log.page(0, 100).annotations if row.reason]
        assert all("by group (by hand), seed" in str(row.reason) for row in moves)
        again = service.splitting.draw(SplitPost(by="group", groups=groups, how="by hand", **case["post"]))
        assert again.moved == 0


def _twelve(folder: Path) -> Path:
    photos(folder / "photos", 12)
    return folder


def test_groups_that_come_in_parts_are_drawn_as_one(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 20)
    groups = {number: str(number % 5) for number in range(1, 21)}
    with labeler(tmp_path) as service:
        asked: dict[str, Any] = {"test": 0.4, "by": "group", "dry_run": True}
        whole = service.splitting.take(SplitPart(groups=groups, **asked))
        first = service.splitting.take(SplitPart(groups=dict(list(groups.items())[:9]), more=True, **asked))
        part = {"groups_id": first.groups_id}
        service.splitting.take(SplitPart(groups=dict(list(groups.items())[9:15]), more=True, **part, **asked))
        looked = service.splitting.take(SplitPart(groups=dict(list(groups.items())[15:]), **part, **asked))
        assert looked == whole.model_copy(update=part)
        drawn = service.splitting.take(SplitPart(**part, **(asked | {"dry_run": False})))
        assert drawn == whole
        assert splits(service) == Counter(drawn.splits)
        with pytest.raises(Conflict, match="send all of them again"):
            service.splitting.take(SplitPart(**part, **asked))
