import socket
import threading
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from uuid import uuid4

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shared.images.finding import Passed
from shared.images.opening import ImageProblem
from shared.images.sources import web as web_store
from shared.images.sources.choosing import Sources
from shared.images.sources.source import ImageAway
from tests.shared.images.sources.places import LIMITS, picture, source, uris, write_folder, write_objects, write_zip


class WebServer:
    """Serves `files` by path, honours ranges, and redirects where `redirects` says so."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.redirects: dict[str, str] = {}
        self.status: dict[str, int] = {}
        self.asked: list[str] = []
        self.password = ""
        served = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                path = self.path.partition("?")[0]
                served.asked.append(self.path)
                given = b64decode(self.headers.get("Authorization", "").removeprefix("Basic ")).decode()
                if given.rpartition(":")[2] != served.password:
                    self._send(401, b"")
                elif (target := served.redirects.get(path)) is not None:
                    self._send(302, b"", Location=target)
                elif path in served.status or path not in served.files:
                    self._send(served.status.get(path, 404), b"secret of the server")
                elif wanted := self.headers.get("Range"):
                    start, end = wanted.removeprefix("bytes=").split("-")
                    part = served.files[path][int(start) : int(end) + 1]
                    self._send(206 if part else 416, part)
                else:
                    self._send(200, served.files[path])

            do_HEAD = do_GET  # noqa: N815 - the library's name

            def _send(self, status: int, body: bytes, **headers: str) -> None:
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@contextmanager
def serving() -> Iterator[WebServer]:
    web = WebServer()
    threading.Thread(target=web.server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield web
    finally:
        web.server.shutdown()
        web.server.server_close()


def table(path: Path, *addresses: str, column: str = "url") -> Path:
    path.write_text("\n".join([f"label,{column}", *(f"cat,{each}" for each in addresses)]))
    return path


def test_images_beside_a_table(tmp_path: Path) -> None:
    write_folder(tmp_path, {"a.png": picture(1), "sub/b.png": picture(2)})
    (tmp_path.parent / "outside.png").write_bytes(picture(3))
    passed = Passed()
    entries = ["sub/b.png", "a.png", "../outside.png", "/etc/passwd"]
    listed = source(table(tmp_path / "list.csv", *entries, column="File_Name"))
    assert uris(listed, passed) == ["a.png", "sub/b.png"]
    assert passed.unusable.total() == 2
    assert listed.read("sub/b.png", LIMITS) == picture(2)
    before = listed.stamp("a.png")
    (tmp_path / "a.png").write_bytes(picture(4) + b" ")
    assert listed.stamp("a.png") != before


def test_addresses_in_a_table_are_read_where_they_are_allowed(tmp_path: Path) -> None:
    bucket, other = (write_objects(uuid4().hex, {"photos/a.png": picture(1)}) for _ in range(2))
    listed = table(tmp_path / "list.csv", f"{bucket}/photos/a.png", f"{other}/photos/a.png")
    found = Sources([f"{bucket}/photos/"]).source(listed)
    mine, foreign = (f"{each.partition('://')[2]}/photos/a.png" for each in (bucket, other))
    assert uris(found) == sorted([mine, foreign])
    assert found.read(mine, LIMITS) == picture(1)
    with pytest.raises(ImageProblem, match="the setting image_addresses does not allow"):
        found.read(foreign, LIMITS)


def test_a_table_in_a_store_names_what_lies_beside_it() -> None:
    bucket = uuid4().hex
    place = write_objects(bucket, {"data/a.png": picture(1), "b.png": picture(2)})
    write_objects(bucket, {"data/list.csv": f"url\na.png\n{place}/data/a.png\n{place}/b.png\n".encode()})
    found = source(f"{place}/data/list.csv")
    assert set(uris(found)) == {"a.png", f"{bucket}/b.png", f"{bucket}/data/a.png"}
    assert found.read("a.png", LIMITS) == found.read(f"{bucket}/data/a.png", LIMITS) == picture(1)
    with pytest.raises(ImageProblem, match="does not allow"):
        found.read(f"{bucket}/b.png", LIMITS)


def test_a_parquet_file_of_addresses(tmp_path: Path) -> None:
    write_folder(tmp_path, {"a.png": picture(1)})
    pq.write_table(pa.table({"id": [1], "image": ["a.png"]}), tmp_path / "list.parquet")
    found = source(tmp_path / "list.parquet")
    assert uris(found) == ["a.png"]
    assert found.read("a.png", LIMITS) == picture(1)


def test_signed_addresses_are_used_and_never_named(tmp_path: Path) -> None:
    with serving() as web:
        web.files["/p/a.png"] = picture(1)
        listed = table(tmp_path / "list.csv", f"{web.url}/p/a.png?sig=secret", f"{web.url}/p/a.png?sig=secret2")
        found = Sources([f"{web.url}/p/"]).source(listed)
        names = uris(found)
        assert len(names) == 2
        assert "secret" not in "".join(names)
        assert found.read(names[0], LIMITS) == picture(1)
        assert "sig=secret" in web.asked[0]
        web.status["/p/a.png"] = 403
        with pytest.raises(ImageAway) as caught:
            found.read(names[0], LIMITS)
        assert "secret" not in str(caught.value)
        assert "denies access" in str(caught.value)


def test_a_redirect_leads_only_to_an_allowed_address(tmp_path: Path) -> None:
    with serving() as web, serving() as private:
        private.files["/a.png"] = web.files["/p/b.png"] = picture(1)
        web.redirects |= {
            "/p/inside.png": "/p/b.png",
            "/p/private.png": f"{private.url}/a.png",
            "/p/file.png": "file:///etc/passwd",
            "/p/up.png": "/b.png",
            "/p/loop.png": "/p/loop.png",
        }
        listed = table(tmp_path / "list.csv", *(f"{web.url}{path}" for path in web.redirects))
        found = Sources([f"{web.url}/p/"]).source(listed)
        host = web.url.removeprefix("http://")
        assert found.read(f"{host}/p/inside.png", LIMITS) == picture(1)
        for name, reason in {
            "private": "which image_addresses does not allow",
            "file": "is redirected to something that is not an address",
            "up": "which image_addresses does not allow",
            "loop": "is redirected again and again",
        }.items():
            with pytest.raises(ImageProblem, match=reason):
                found.read(f"{host}/p/{name}.png", LIMITS)
        assert private.asked == []


def test_a_web_server_that_fails_is_asked_less_and_less(tmp_path: Path) -> None:
    with serving() as web:
        web.status["/a.png"] = 503
        found = Sources([web.url]).source(table(tmp_path / "list.csv", f"{web.url}/a.png", f"{web.url}/b.png"))
        uri = f"{web.url.removeprefix('http://')}/a.png"
        for _ in range(10):
            with pytest.raises(ImageAway, match="cannot be read now"):
                found.read(uri, LIMITS)
        assert len(web.asked) == 3


def test_headers_that_come_a_byte_at_a_time_have_a_deadline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web_store, "READ_SECONDS", 0.5)
    left = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def drip() -> None:
            with server.accept()[0] as connection, suppress(OSError):
                connection.sendall(b"HTTP/1.1 200 OK\r\nX-Slow: ")
                while not left.wait(0.05):
                    connection.sendall(b"x")

        dripping = threading.Thread(target=drip)
        dripping.start()
        host = f"127.0.0.1:{server.getsockname()[1]}"
        found = Sources([f"http://{host}"]).source(table(tmp_path / "list.csv", f"http://{host}/a.png"))
        with pytest.raises(ImageAway, match="did not answer"):
            found.read(f"{host}/a.png", LIMITS)
        left.set()
        dripping.join()


def test_an_archive_of_a_web_server(tmp_path: Path) -> None:
    files = {f"{number}.png": picture(number) for number in range(5)}
    with serving() as web:
        web.files["/photos.zip"] = write_zip(tmp_path / "photos.zip", files).read_bytes()
        found = source(f"{web.url}/photos.zip")
        assert uris(found) == sorted(files)
        assert all(found.read(uri, LIMITS) == files[uri] for uri in files)
        with pytest.raises(ImageProblem, match="without a list of files: name an archive"):
            uris(source(f"{web.url}/photos"))


def test_an_object_larger_than_an_image_may_be_is_not_read_to_its_end(tmp_path: Path) -> None:
    with serving() as web:
        web.files["/a.png"] = bytes(LIMITS.max_bytes + 1_000)
        found = Sources([web.url]).source(table(tmp_path / "list.csv", f"{web.url}/a.png"))
        with pytest.raises(ImageProblem, match="the limit set by max_image_bytes"):
            found.read(f"{web.url.removeprefix('http://')}/a.png", LIMITS)


def test_the_usual_form_of_an_address_in_a_table_is_read(tmp_path: Path) -> None:
    with serving() as web:
        web.files["/p/a.png"] = picture(1)
        found = Sources([f"{web.url}/p"]).source(table(tmp_path / "list.csv", f"HTTP{web.url[4:]}/p/a.png?sig=1"))
        (uri,) = uris(found)
        assert found.read(uri, LIMITS) == picture(1)


def test_entries_that_name_no_image(tmp_path: Path) -> None:
    entries = [
        *("https://ann:secret@host/a.png", "https://ann:sec/ret@host/b.png?secret", "https://host/a.png?a\x00secret"),
        *("memory://bucket/a?/../../secret", "memory://bucket/%252e%252e/secret", "a//b.png", "x" * 10_000),
    ]
    passed = Passed()
    assert uris(source(table(tmp_path / "list.csv", *entries)), passed) == []
    assert passed.unusable.total() == len(entries)
    told = " ".join(passed.unusable)
    assert "ann" not in told
    assert "sec/" not in told
    assert "?" not in told


@pytest.mark.parametrize("column", [[1, 2], [{"path": "a.png"}], [["a.png"]], [True]])
def test_a_column_without_text_names_no_images(tmp_path: Path, column: list[object]) -> None:
    pq.write_table(pa.table({"image": column}), tmp_path / "list.parquet")
    with pytest.raises(ImageProblem, match="has a column image that is not text"):
        uris(source(tmp_path / "list.parquet"))


def test_a_table_in_a_store_is_read_again_by_the_next_list() -> None:
    bucket = uuid4().hex
    place = write_objects(bucket, {"list.csv": b"url\na.png"})
    found = source(f"{place}/list.csv")
    assert uris(found) == ["a.png"]
    write_objects(bucket, {"list.csv": b"url\na.png\nb.png"})
    assert uris(found) == ["a.png", "b.png"]


def test_one_web_server_that_fails_stops_no_other(tmp_path: Path) -> None:
    with serving() as web, serving() as other:
        web.status["/a.png"] = 503
        other.files["/b.png"] = picture(1)
        listed = table(tmp_path / "list.csv", f"{web.url}/a.png", f"{other.url}/b.png")
        found = Sources([web.url, other.url]).source(listed)
        for _ in range(5):
            with pytest.raises(ImageAway):
                found.read(f"{web.url.removeprefix('http://')}/a.png", LIMITS)
        assert found.read(f"{other.url.removeprefix('http://')}/b.png", LIMITS) == picture(1)


def test_a_password_of_a_web_server_comes_from_netrc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login ann password very-secret\n")
    (tmp_path / "netrc").chmod(0o600)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    with serving() as web:
        web.files["/a.png"] = picture(1)
        web.password = "very-secret"
        found = Sources([web.url]).source(table(tmp_path / "list.csv", f"{web.url}/a.png"))
        assert found.read(f"{web.url.removeprefix('http://')}/a.png", LIMITS) == picture(1)


@pytest.mark.parametrize(
    ("text", "reason"),
    [(b"a;b\n1;2", "has no column of images"), (b"url\n\xff\xfe", "is not a table"), (b"", "no column")],
)
def test_a_file_that_is_no_table_of_images_is_refused_with_a_reason(tmp_path: Path, text: bytes, reason: str) -> None:
    (tmp_path / "list.csv").write_bytes(text)
    with pytest.raises(ImageProblem, match=reason):
        uris(source(tmp_path / "list.csv"))
