import asyncio
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from labeler.errors import Busy, Invalid
from labeler.images import scanner
from labeler.service import Service
from labeler.web.api import create_api
from shared.settings.project_file import ProjectFile
from shared.settings.starting import remember
from shared.web.server import TELLING
from shared.wire.imports import ImportPost, ImportRow
from tests.labeler.projects import answer, asked, labeler, settings
from tests.object_store import ObjectStore, object_store
from tests.services import wait_for
from tests.shared.images.sources.places import picture, write_zip
from tests.shared.images.sources.test_archives import zip_of_large_numbers

FILES = {"a.png": picture(1), "sub/b.png": picture(2), "sub/c.png": picture(3)}


@pytest.fixture(scope="module")
def a_store() -> Iterator[ObjectStore]:
    with object_store() as store:
        yield store


@pytest.fixture
def store(a_store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> Iterator[ObjectStore]:
    for name, value in a_store.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(scanner, "PAUSES", (0.01,))
    yield a_store
    a_store.refused = lambda _: False
    a_store.answers.set()


def catalogue(service: Service) -> dict[str, int]:
    """URI → id of every image that is there."""
    return {entry.uri: entry.id for entry in service.catalog.page(0, 1_000).images if not entry.removed}


def test_images_of_a_zip_are_labeled_and_exported(tmp_path: Path) -> None:
    write_zip(tmp_path / "photos.zip", FILES)
    with labeler(tmp_path, images=str(tmp_path / "photos.zip")) as service:
        before = catalogue(service)
        assert list(before) == sorted(FILES)
        assert all(service.content(image_id)[0] == FILES[uri] for uri, image_id in before.items())
        service.annotate([answer(before["sub/b.png"], "dog")])
        assert service.thumbnail(before["a.png"], 320)[1] == "image/webp"
        exported = b"".join(service.exports.begin("imagefolder")[0])
        assert FILES["sub/b.png"] in exported
    write_zip(tmp_path / "photos.zip", FILES | {"a.png": picture(4), "d.png": picture(5)})
    with labeler(tmp_path, images=str(tmp_path / "photos.zip")) as service:
        after = catalogue(service)
        assert {uri: after[uri] for uri in ("sub/b.png", "sub/c.png")} == {
            uri: before[uri] for uri in ("sub/b.png", "sub/c.png")
        }
        assert after["a.png"] not in before.values()  # a changed member is another image
        assert set(after) == {*FILES, "d.png"}
        assert before["a.png"] in service.log.fold.removed


def test_a_changed_archive_joins_while_the_labeler_runs(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "photos.zip", FILES)
    with labeler(tmp_path, images=str(path)) as service:
        write_zip(tmp_path / "next.zip", FILES | {"d.png": picture(5)}).replace(path)
        wait_for(lambda: "d.png" in catalogue(service), "the new member")


def test_a_damaged_archive_removes_nothing(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "photos.zip", FILES)
    with labeler(tmp_path, images=str(path)) as service:
        before = catalogue(service)
    path.write_bytes(path.read_bytes()[:100])
    with labeler(tmp_path, images=str(path)) as service:
        assert catalogue(service) == before
        assert "is not a zip archive that can be read; its images are kept" in (service.scanner.view().error or "")


def test_a_member_that_lies_about_its_size_stops_no_scan(tmp_path: Path) -> None:
    path = zip_of_large_numbers(tmp_path / "photos.zip", picture(1), size=2**64 - 1)
    with labeler(tmp_path, images=str(path)) as service:
        assert service.scanner.view().error is None
        assert service.project().rejected == 1


def test_an_archive_that_is_not_there_stops_the_first_start(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="there is no such file"):
        Service(settings(tmp_path, images=str(tmp_path / "photos.zip")))


def test_images_of_a_bucket_keep_their_ids(tmp_path: Path, store: ObjectStore) -> None:
    place = store.put("bucket", {f"photos/{name}": data for name, data in FILES.items()} | {"other.png": picture(9)})
    with labeler(tmp_path, images=f"{place}/photos") as service:
        before = catalogue(service)
        assert list(before) == sorted(FILES)
        assert all(service.content(image_id)[0] == FILES[uri] for uri, image_id in before.items())
        added = service.arrivals.add_uris([f"{place}/photos/a.png", f"{place}/other.png", "http://127.0.0.1:1/a.png"])
        assert (added.added, added.duplicates) == (0, 1)
        assert [each.reason for each in added.rejected] == [
            "is an address outside the project's images: add it with `flywheel add`"
        ] * 2
    store.put("bucket", {"photos/sub/c.png": picture(6)})
    store.requests.clear()
    with labeler(tmp_path, images=f"{place}/photos") as service:
        after = catalogue(service)
        assert after["a.png"] == before["a.png"]
        assert after["sub/c.png"] not in before.values()
        assert [each for each in store.requests if each.endswith("png")] == ["GET /bucket/photos/sub/c.png"]


def test_a_store_that_fails_removes_nothing_and_is_asked_again(tmp_path: Path, store: ObjectStore) -> None:
    place = store.put("failing", FILES)
    store.refused = lambda asked: asked.endswith("b.png")
    with labeler(tmp_path, images=place) as service:
        assert set(catalogue(service)) == {"a.png", "sub/c.png"}
        assert service.project().rejected == 0
        assert "1 image of s3://failing cannot be read now" in (service.scanner.view().error or "")
        store.refused = lambda _: False
        service.scanner.start()
        service.scanner.wait(30)
        assert set(catalogue(service)) == set(FILES)
        assert service.scanner.view().error is None
        before = catalogue(service)
    store.kill()
    try:
        with labeler(tmp_path, images=place) as service:
            assert catalogue(service) == before
            assert "did not answer" in (service.scanner.view().error or "")
            with pytest.raises(Busy, match="cannot be read now"):
                service.content(before["a.png"])
    finally:
        store.start()


def test_nothing_secret_is_kept_or_shown(tmp_path: Path, store: ObjectStore, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    for name in TELLING:  # as `log_to` does
        caplog.set_level("WARNING", name)
    place = store.put("secrets", FILES)
    remember(settings(tmp_path, images=place))
    store.refused = lambda asked: asked.endswith("a.png")
    with labeler(tmp_path, images=place) as service:
        shown = f"{service.project()} {service.folders.view()} {service.scanner.view()}"
    kept = (tmp_path / "workspace" / "project.toml").read_text()
    assert 'images = "s3://secrets"' in kept
    for secret in ("very-secret", "flywheel-test", "127.0.0.1:" + store.url.rpartition(":")[2]):
        assert secret not in kept + shown + caplog.text


def test_a_page_adds_only_an_allowed_address(tmp_path: Path, store: ObjectStore) -> None:
    place = store.put("more", FILES)
    remember(settings(tmp_path, images=str(write_zip(tmp_path / "photos.zip", {"z.png": picture(7)}))))
    with labeler(tmp_path, images=str(tmp_path / "photos.zip"), image_addresses=[place]) as service:
        with pytest.raises(Invalid, match="image_addresses does not allow this address"):
            service.folders.add("s3://another")
        for hidden in ("file://http://127.0.0.1:1/a.zip", "zip://s3://another", "tar://file://s3://another"):
            with pytest.raises(Invalid, match="image_addresses does not allow this address"):
                service.folders.add(hidden)
        service.folders.add(f"{place}/sub")
        wait_for(lambda: len(catalogue(service)) == 3, "the images of the bucket")
        assert set(catalogue(service)) == {"z.png", "sub/b.png", "sub/c.png"}
    project = ProjectFile.read(tmp_path / "workspace")
    assert project is not None
    assert project.folders == {"sub": "s3://more/sub"}


def test_a_store_that_is_slow_or_away_blocks_no_page(tmp_path: Path, store: ObjectStore) -> None:
    place = store.put("slow", FILES)
    with labeler(tmp_path, images=place) as service:
        ids = list(catalogue(service).values())
        slow, gone = ids[0], ids[1]
        name, sha256 = service.catalog.locate(gone).files[0][1], service.catalog.locate(slow).sha256
        store.answers.clear()
        store.refused = lambda asked: asked.endswith(name)

        async def look() -> None:
            transport = httpx.ASGITransport(create_api(service))
            async with httpx.AsyncClient(transport=transport, base_url="http://labeler", timeout=None) as client:
                many = [client.get(f"/images/{slow}/thumbnail?size=320") for _ in range(50)]
                assert {answer.status_code for answer in await asyncio.gather(*many)} == {503}
                assert (await client.get("/health")).status_code == 200
                store.answers.set()
                await asyncio.to_thread(wait_for, lambda: service.thumbnails.kept(sha256, 320), "the copy")
                answer = await client.get(f"/images/{slow}/thumbnail?size=320")
                assert answer.headers["content-type"] == "image/webp"
                answer = await client.get(f"/images/{gone}/content")
                assert answer.status_code == 503
                assert "cannot be read now" in answer.json()["detail"]

        store.requests.clear()
        asyncio.run(look())
        assert store.requests.count(f"GET /slow/{service.catalog.locate(slow).files[0][1]}") == 1
        assert gone not in asked(service)  # the queue gives the others
        assert slow in asked(service)
        assert "1 image cannot be shown now" in (service.scanner.view().error or "")
        store.refused = lambda _: False
        assert service.far.fetch(gone, gone, lambda: service.content(gone)).result(20)[0] == FILES[name]
        assert gone in asked(service)
        assert service.scanner.view().error is None


def test_labels_name_images_by_their_address(tmp_path: Path, store: ObjectStore) -> None:
    place = store.put("labels", {f"photos/{name}": data for name, data in (FILES | {"d.raw": FILES["a.png"]}).items()})
    with labeler(tmp_path, images=f"{place}/photos") as service:
        rows = [
            ImportRow(line=1, uri=f"{place}/photos/a.png", label="cat"),
            ImportRow(line=2, uri="sub/b.png", label="dog"),
            ImportRow(line=3, uri="s3://other/a.png", label="dog"),
            ImportRow(line=4, uri="d.raw", label="dog"),
        ]
        receipt = service.imports.take(ImportPost(rows=rows))
        assert [(each.line, each.reason) for each in receipt.rejected] == [
            (3, "is an address, not a file in the image folder s3://labels/photos"),
            (4, "is skipped: in a store, only names that end like those of images are read, so rename it"),
        ]
        labeled = {uri: service.log.fold.labels.get(image_id) for uri, image_id in catalogue(service).items()}
        assert [labeled["a.png"], labeled["sub/b.png"], labeled["sub/c.png"]] == [1, 2, None]
