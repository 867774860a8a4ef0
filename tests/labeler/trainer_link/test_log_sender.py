import logging
import random
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from labeler.service import Service
from labeler.trainer_link import log_sender
from shared.wire.fields import MAX_ROWS
from shared.wire.log import Row
from tests.labeler.followers import Follower, following
from tests.labeler.projects import answer, boxes, labeler, photos
from tests.network import FAULTS, Proxy
from tests.patience import patience

QUICK = {"trainer_poll_seconds": 0.05, "buffer_seconds": 0.1}


def until(true: Callable[[], bool], what: str) -> None:
    """Wait as long as a busy machine may need, and fail when it never comes."""
    began = time.monotonic()
    while time.monotonic() - began < patience(20):
        if true():
            return
        time.sleep(0.02)
    pytest.fail(what)


def logged(service: Service) -> list[UUID]:
    rows: list[Row] = []
    while more := service.log.page(len(rows), MAX_ROWS).annotations:
        rows += more
    return [row.id for row in rows]


def has_it_all(service: Service, follower: Follower) -> Callable[[], bool]:
    def check() -> bool:
        return [row.id for row in follower.rows] == logged(service) and service.outbox.view().pending == 0

    return check


def test_every_row_arrives_once_and_in_order(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 6)
    with following() as (follower, url), labeler(tmp_path, trainer_url=url, **QUICK) as service:
        for image_id in range(1, 7):
            service.annotate([answer(image_id)])
        until(has_it_all(service, follower), "the rows never arrived")
        assert [row.seq for row in follower.rows] == list(range(1, service.log.last_seq + 1))
        before = {each.after_seq: each.after_id for each in follower.batches}
        assert before == {seq: logged(service)[seq - 1] if seq else None for seq in before}
        until(lambda: follower.batches[-1].catalog_version == service.catalog.version, "the catalogue was never told")


def test_a_full_buffer_goes_at_once_and_a_part_of_one_waits(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 6)
    slow = {"trainer_poll_seconds": 0.05, "buffer_seconds": 3_600.0, "buffer_size": 3}
    with following() as (follower, url), labeler(tmp_path, trainer_url=url, **slow) as service:
        until(lambda: not service.project().scanning.running, "the photos were never read")
        service.outbox.flush(10)  # a change of the catalogue, too, takes along what waits
        until(lambda: follower.batches[-1].catalog_version == service.catalog.version, "the catalogue was never told")
        service.annotate([answer(1), answer(2)])
        assert service.outbox.view().pending == 2
        service.annotate([answer(3)])
        until(has_it_all(service, follower), "the full buffer never went")
        service.annotate([answer(4)])
        assert service.outbox.flush(10)
        assert has_it_all(service, follower)()
        follower.wants_each = True
        until(lambda: service.trainer.status().wants_each, "the trainer's wish was never read")
        service.annotate([answer(5)])
        until(has_it_all(service, follower), "a single label never went")


def test_a_bad_network_loses_and_doubles_no_row(tmp_path: Path) -> None:
    """Requests are delayed, swallowed, cut in the middle and reset; each row arrives once and in order all the same."""
    photos(tmp_path / "photos", 2 * len(FAULTS))
    proxy = Proxy()
    settings = {**QUICK, "trainer_url": proxy.url, "trainer_timeout_seconds": 0.5}
    with following() as (follower, url), labeler(tmp_path, **settings) as service:
        proxy.target = int(url.rpartition(":")[2])
        until(lambda: service.trainer.status() is not None, "the trainer never answered")
        for number, fault in enumerate(FAULTS):
            proxy.become(fault)
            service.annotate([answer(2 * number + 1)])
            if fault != "delay":  # which is only late
                until(lambda: service.outbox.view().failures > 0, f"nobody noticed: {fault}")
            service.annotate([answer(2 * number + 2)])
            proxy.become(None)
            until(has_it_all(service, follower), f"the rows never arrived: {fault}")
        assert [row.seq for row in follower.rows] == list(range(1, service.log.last_seq + 1))
    proxy.close()


def test_leased_images_and_whether_test_images_were_asked_at_random_are_told(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 4)
    with following() as (follower, url), labeler(tmp_path, trainer_url=url, **QUICK) as service:
        held = [item.image_id for item in service.serve("ann", "tab", 2).items]
        service.annotate([answer(image_id) for image_id in range(1, 5) if image_id not in held])
        assert service.outbox.flush(10)
        assert sorted(follower.batches[-1].leased) == sorted(held)
        assert follower.batches[-1].test_at_random is True


def test_labeling_goes_on_without_a_trainer(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 3)
    chance = random.getstate()
    with labeler(tmp_path, **QUICK) as service:
        service.annotate([answer(1), answer(2)])
        until(lambda: service.outbox.view().failures > 0, "the failure was never seen")
        assert random.getstate() == chance  # a property test in the same process would fail if a thread changed it
        view = service.trainer.view()
        assert (view.state, service.outbox.view().pending) == ("absent", 4)
        assert "cannot be reached" in (view.last_error or "")
        assert service.outbox.flush(0.1) is False


@pytest.mark.parametrize(("seconds", "warnings"), [(60.0, 0), (0.0, 1)])
def test_a_trainer_that_may_still_be_starting_is_no_warning(
    seconds: float, warnings: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(log_sender, "START_SECONDS", seconds)
    photos(tmp_path / "photos", 3)
    with labeler(tmp_path, **QUICK) as service:
        until(lambda: service.outbox.view().failures > 1, "the failure was never seen")
        assert "cannot be reached" in (service.trainer.view().last_error or "")  # the page says it at once
    assert caplog.text.count("cannot be reached") == warnings


def test_a_failing_trainer_gets_everything_once_it_recovers(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 3)
    with following() as (follower, url):
        follower.failing = True
        with labeler(tmp_path, trainer_url=url, **QUICK) as service:
            service.annotate([answer(1)])
            until(lambda: service.outbox.view().last_error == "The trainer answered 500: out of order", "not said")
            follower.failing = False
            until(has_it_all(service, follower), "it never recovered")
            assert service.outbox.view().last_error is None


def test_a_slow_trainer_holds_nobody_up(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 5)
    with following() as (follower, url), labeler(tmp_path, trainer_url=url, **QUICK) as service:
        until(has_it_all(service, follower), "the classes never arrived")
        follower.answering.clear()
        for image_id in range(1, 6):
            service.annotate([answer(image_id)])
        kept = [row.image_id for row in service.log.page(0, 100).annotations if row.action == "label"]
        assert kept == [1, 2, 3, 4, 5]
        assert service.outbox.view().pending == 5
        assert service.outbox.view().failures == 0  # nobody waited for an answer: none has failed to come
        follower.answering.set()
        until(has_it_all(service, follower), "it never caught up")


def test_a_trainer_that_takes_too_long_is_told_again(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 2)
    with following() as (follower, url):
        follower.answering.clear()
        with labeler(tmp_path, trainer_url=url, trainer_timeout_seconds=0.2, **QUICK) as service:
            service.annotate([answer(1)])
            until(lambda: "takes too long" in (service.outbox.view().last_error or ""), "never said")
            follower.answering.set()
            until(has_it_all(service, follower), "it never caught up")


def test_a_trainer_that_forgets_is_told_again_while_nobody_clicks(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 3)
    with following() as (follower, url), labeler(tmp_path, trainer_url=url, **QUICK) as service:
        service.annotate([answer(1), answer(2)])
        until(has_it_all(service, follower), "the rows never arrived")
        follower.forget()
        until(has_it_all(service, follower), "it was never told again")


def test_a_trainer_that_lost_its_last_rows(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 3)
    with following() as (follower, url), labeler(tmp_path, trainer_url=url, **QUICK) as service:
        service.annotate([answer(1), answer(2)])
        until(has_it_all(service, follower), "the rows never arrived")
        del follower.rows[1:]
        until(has_it_all(service, follower), "it was never told again")


def test_another_workspace_and_a_restored_older_log(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 3)
    with following() as (follower, url):
        with labeler(tmp_path, trainer_url=url, **QUICK) as service:
            service.annotate([answer(1), answer(2), answer(3)])
            until(has_it_all(service, follower), "the rows never arrived")
            ahead = list(follower.rows)
        (tmp_path / "workspace").rename(tmp_path / "first")
        with labeler(tmp_path, trainer_url=url, **QUICK) as service:
            until(has_it_all(service, follower), "it kept following the other workspace")
            follower.rows = [*service.log.page(0, 10).annotations, *ahead[2:]]  # it has seen more than there is
            until(has_it_all(service, follower), "it never noticed the older log")


def test_more_rows_than_fit_in_one_message(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 60)
    with labeler(tmp_path) as service:
        for who in range(100):
            service.annotate([answer(image_id, annotator=str(who)) for image_id in range(1, 61)])
    with following() as (follower, url), labeler(tmp_path, trainer_url=url, **QUICK) as service:
        until(lambda: len(follower.rows) == service.log.last_seq == 6_002, "the rows never arrived")
        assert max(len(batch.annotations) for batch in follower.batches) == MAX_ROWS


def test_long_notes_go_in_batches_that_the_trainer_takes(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 1)
    note = "\N{GRINNING FACE}" * 5_000
    with following() as (follower, url), labeler(tmp_path, trainer_url=url, **QUICK) as service:
        service.annotate([answer(1, note=note) for _ in range(450)])
        until(has_it_all(service, follower), "the rows never arrived")
        assert [row.seq for row in follower.rows] == list(range(1, service.log.last_seq + 1))
        assert max(len(batch.model_dump_json().encode()) for batch in follower.batches) < 8_388_608
        assert any(batch.annotations and batch.annotations[-1].seq < batch.last_seq for batch in follower.batches)


def test_answers_with_a_thousand_boxes_go_in_batches_that_the_trainer_takes(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 60)
    many = [(1, k % 6, k % 4, 8.88, 7.77, "corrected") for k in range(1_000)]
    values: dict[str, Any] = {"task": "detection", **QUICK}
    with following() as (follower, url), labeler(tmp_path, trainer_url=url, **values) as service:
        service.annotate([boxes(image_id, *many) for image_id in range(1, 61)])
        until(lambda: len(follower.rows) == service.log.last_seq, "the rows never arrived")
        assert [row.seq for row in follower.rows] == list(range(1, service.log.last_seq + 1))
        assert max(len(batch.model_dump_json().encode()) for batch in follower.batches) < 8_388_608
        page = service.log.page(0, MAX_ROWS)
        assert 1 < len(page.annotations) < page.last_seq
        assert len(page.model_dump_json()) < 8_388_608


def test_a_failure_delays_nobody_who_asked_during_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stop flushes during a request that fails afterwards; the pause after it would last longer than anyone waits."""
    photos(tmp_path / "photos", 2)
    with following() as (follower, url), labeler(tmp_path, trainer_url=url, **QUICK) as service:
        until(has_it_all(service, follower), "the classes never arrived")
        monkeypatch.setattr(log_sender, "FIRST_PAUSE", 3_600.0)
        monkeypatch.setattr(log_sender, "LONGEST_PAUSE", 3_600.0)
        flushed: list[bool] = []
        asking = threading.Thread(target=lambda: flushed.append(service.outbox.flush(20)))
        follower.answering.clear()
        service.annotate([answer(1)])
        until(lambda: follower.held == 1, "the row was never sent")
        asking.start()
        until(lambda: service.outbox.view().pending == 1 and asking.is_alive(), "nobody asked")
        time.sleep(0.1)  # it waits by now; if it does not, its request comes later and nothing is tested
        follower.failing_once = True
        follower.answering.set()
        asking.join()
        assert flushed == [True]


def test_the_figures_shown_at_any_moment_belong_together(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Whoever looks while a failure or a recovery is being noted sees all of it or none."""
    photos(tmp_path / "photos", 2)
    seen: list[tuple[str, bool, str | None]] = []
    with following() as (follower, url), labeler(tmp_path, trainer_url=url, **QUICK) as service:

        class Look(logging.Handler):
            def emit(self, record: logging.LogRecord) -> None:
                view = service.outbox.view()
                seen.append((service.outbox.trainer_view().state, view.failures > 0, view.last_error))

        until(has_it_all(service, follower), "the classes never arrived")
        caplog.set_level(logging.INFO, log_sender.logger.name)
        log_sender.logger.addHandler(looking := Look())
        try:
            follower.failing = True
            until(lambda: len(seen) == 1, "the failure was never noted")
            follower.failing = False
            until(lambda: len(seen) == 2, "the recovery was never noted")
        finally:
            log_sender.logger.removeHandler(looking)
    assert seen == [("absent", True, "The trainer answered 500: out of order"), ("waiting", False, None)]
