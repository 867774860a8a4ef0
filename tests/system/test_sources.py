"""Images in a store that fails and is killed: both real services, a real S3 server on loopback."""

import io
import zipfile
from pathlib import Path

import httpx
import pytest

from tests.object_store import object_store
from tests.services import running_services, wait_for, write_photos

pytestmark = pytest.mark.system
IMAGES = 40


def test_labeling_goes_on_while_the_store_is_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    truth = write_photos(tmp_path / "photos", IMAGES)
    with object_store() as store:
        for name, value in store.environment.items():
            monkeypatch.setenv(name, value)
        place = store.put("photos", {name: (tmp_path / "photos" / name).read_bytes() for name in truth})
        settings = {"images": place}
        with running_services(images=IMAGES, labeler=settings, trainer=settings) as services:
            wait_for(lambda: services.status()["embedding"]["done"] == IMAGES, "all vectors")
            services.label(10)
            names = services.names()
            store.kill()
            services.labeler.kill()
            services.labeler.start()
            error = wait_for(lambda: services.get("/api/project")["scanning"]["error"], "the reason")
            assert "s3://photos did not answer" in error
            assert services.names() == names
            assert services.get("/api/project")["images"]["total"] == IMAGES
            services.label(5)
            wait_for(services.caught_up, "the trainer")
            image_id = next(iter(names))
            content = f"{services.labeler.url}/api/images/{image_id}/content"
            assert httpx.get(content, timeout=60).status_code == 503
            store.start()
            wait_for(lambda: httpx.get(content, timeout=60).status_code == 200, "the store that is back")
            exported = httpx.get(f"{services.labeler.url}/api/export?format=imagefolder", timeout=60)
            with zipfile.ZipFile(io.BytesIO(exported.content)) as archive:
                assert sum(name.endswith(".png") for name in archive.namelist()) == 15
        for process in (services.labeler, services.trainer):
            assert "very-secret" not in "".join(process.log)
