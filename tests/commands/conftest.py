"""A real trainer on a real port, for what the command line asks of it."""

import threading
from collections.abc import Iterator

import pytest
import uvicorn

from shared.web.server import address, bind
from tests import forks
from tests.trainer.learning import client, photos, settings_for, teach, trainer, wait_for  # noqa: F401
from trainer.routes.api import create_api

forks.use_for_jobs()
forks.use_for_exports()


@pytest.fixture
def url(trainer, client) -> Iterator[str]:  # noqa: F811
    """Where a trainer answers that has learned from 30 images and measured itself on 20."""
    teach(client, [*range(30), *range(40, 60)])
    wait_for(lambda: client.get("/status").json()["metrics"].get("test_labels") == 20)
    with bind("127.0.0.1", 0) as sock:
        server = uvicorn.Server(uvicorn.Config(create_api(trainer), log_config=None, lifespan="off"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [sock]})
        thread.start()
        wait_for(lambda: server.started)
        yield address(sock)
        server.should_exit = True
        thread.join()
