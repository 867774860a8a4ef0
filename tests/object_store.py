"""A real S3 server on loopback (moto's), with 503s, delays and kills on request. It keeps objects in this process."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import boto3  # type: ignore[import-untyped]
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server

REGION = "us-east-1"


class ObjectStore:
    """The server, its address, and its faults."""

    def __init__(self) -> None:
        self.requests: list[str] = []  # method and path of each
        self.refused: Callable[[str], bool] = lambda _: False  # by "GET /bucket/key": whether to answer with 503
        self.answers = threading.Event()  # cleared: requests wait
        self.answers.set()
        self._app: Any = DomainDispatcherApplication(create_backend_app)
        self._server: BaseWSGIServer | None = None
        self._port = 0
        self.start()

    @property
    def url(self) -> str:
        """Its address, which a restart keeps."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def environment(self) -> dict[str, str]:
        """The variables by which clients find it."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": "flywheel-test",
            "AWS_SECRET_ACCESS_KEY": "very-secret",
            "AWS_DEFAULT_REGION": REGION,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def start(self) -> None:
        """Listen, after a kill on the same port."""
        self._server = make_server("127.0.0.1", self._port, self._answer, threaded=True, request_handler=_Quiet)
        self._port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, args=(0.05,), name="object store", daemon=True).start()

    def kill(self) -> None:
        """Stop listening. The objects stay."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def put(self, bucket: str, objects: Mapping[str, bytes]) -> str:
        """Store objects, in a new bucket if there is none; returns its address."""
        client = boto3.client(
            "s3", endpoint_url=self.url, region_name=REGION, aws_access_key_id="x", aws_secret_access_key="x"
        )
        client.create_bucket(Bucket=bucket)
        for key, data in objects.items():
            client.put_object(Bucket=bucket, Key=key, Body=data)
        client.close()
        return f"s3://{bucket}"

    def _answer(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        asked = f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}"
        self.requests.append(asked)
        self.answers.wait(30)
        if self.refused(asked):
            start_response("503 Slow Down", [("Content-Type", "application/xml")])
            return [b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"]
        answer: Iterable[bytes] = self._app(environ, start_response)
        return answer


class _Quiet(WSGIRequestHandler):  # type: ignore[misc]
    def log_request(self, *_: Any, **__: Any) -> None:
        """Say nothing."""


@contextmanager
def object_store() -> Iterator[ObjectStore]:
    """A store that runs during the block."""
    store = ObjectStore()
    try:
        yield store
    finally:
        store.kill()
