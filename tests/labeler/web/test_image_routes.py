import asyncio
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import httpx
import pytest
from PIL import Image
from starlette.datastructures import UploadFile

from labeler import service
from labeler.images import file_index
from labeler.service import Service
from labeler.web.api import create_api
from labeler.web.image_routes import Uploading
from shared.images.decoding_limit import room
from tests.labeler.projects import labeler, photo, photos

MORE_THAN_THE_THREADS = 45  # of all other routes


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Service]:
    photos(tmp_path / "photos", 3)
    with labeler(tmp_path) as running:
        yield running


def test_requests_that_wait_for_large_images_leave_the_others_alone(
    project: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "LARGE_PIXELS", 0)
    unit = project.files.limits.max_pixels

    async def ask() -> None:
        transport = httpx.ASGITransport(create_api(project))
        async with httpx.AsyncClient(transport=transport, base_url="http://labeler", timeout=None) as client:
            waiting: list[asyncio.Task[httpx.Response]] = []
            with room(unit, unit), room(unit, unit):  # all of the lane of these small ones
                for _ in range(MORE_THAN_THE_THREADS):
                    waiting.append(asyncio.create_task(client.get("/images/1/thumbnail?size=160")))
                    upload = {"images": ("a.png", png(4))}
                    waiting.append(asyncio.create_task(client.post("/images", files=upload)))
                await asyncio.sleep(0.2)
                assert (await asyncio.wait_for(client.get("/health"), 60)).status_code == 200
                assert not any(task.done() for task in waiting)
            assert {answer.status_code for answer in await asyncio.gather(*waiting)} == {200}

    asyncio.run(ask())


def test_one_file_of_an_upload_is_in_memory_at_a_time(project: Service) -> None:
    there: list[int] = []

    class Part(BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            there.append(len(project.catalog.page(0, 10).images))
            return super().read(size)

    parts = [UploadFile(Part(png(number)), filename=f"{number}.png") for number in (4, 5, 6)]
    assert asyncio.run(Uploading()(project, parts)).added == 3
    assert there == [3, 4, 5]


def test_a_file_beyond_the_limit_is_not_read_to_its_end(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 1)
    content = BytesIO(b"\xff\xd8\xff" + b"\0" * 5_000)
    with labeler(tmp_path, max_image_bytes=1_000) as running:
        receipt = asyncio.run(Uploading()(running, [UploadFile(content, filename="large.jpg")]))
    assert "max_image_bytes" in receipt.rejected[0].reason
    assert content.tell() == 1_001


def test_a_large_original_is_sent_in_pieces(project: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_index, "IN_MEMORY", 50)
    located = project.catalog.locate(1)
    path = tmp_path / "photos" / located.files[0][1]
    stream = project.files.original(located)
    assert not isinstance(stream, bytes)
    with stream:
        assert stream.read() == path.read_bytes()

    async def get() -> httpx.Response:
        transport = httpx.ASGITransport(create_api(project))
        async with httpx.AsyncClient(transport=transport, base_url="http://labeler") as client:
            return await client.get("/images/1/content")

    answer = asyncio.run(get())
    assert (answer.content, answer.headers["content-type"]) == (path.read_bytes(), "image/png")
    assert answer.headers["content-length"] == str(path.stat().st_size)
    photo(path, 900)
    assert asyncio.run(get()).status_code == 410


def png(shade: int) -> bytes:
    stream = BytesIO()
    Image.new("RGB", (16, 12), (shade, 200, 100)).save(stream, "PNG")
    return stream.getvalue()
