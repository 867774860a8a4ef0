"""What a run of requests says of an error that is no answer."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from hypothesis.errors import FlakyFailure
from schemathesis.engine.events import NonFatalError

from tests.fuzzing import fuzz, told

SCHEMA = {
    "openapi": "3.1.0",
    "info": {"title": "a service that goes silent", "version": "1"},
    "paths": {"/word": {"get": {"responses": {"200": {"description": "ok"}, "405": {"description": "no"}}}}},
}


class Silent(BaseHTTPRequestHandler):
    """Answers the first three requests of a client, and closes the connection of any other."""

    asked = 0

    def answer(self):
        schema = self.path == "/openapi.json"
        Silent.asked += not schema
        if Silent.asked > 3:
            return
        said = json.dumps(SCHEMA if schema else "a word").encode()
        self.send_response(200 if self.command == "GET" else 405)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = do_TRACE = do_QUERY = answer  # noqa: N815

    def log_message(self, *_):
        pass


def test_an_answer_that_does_not_come_is_told_with_those_before_it():
    with ThreadingHTTPServer(("127.0.0.1", 0), Silent) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        found = fuzz("labeler", f"http://127.0.0.1:{server.server_port}", examples=3)
        server.shutdown()
        thread.join()
    said = "\n".join(found.errors)
    assert "GET /word" in said
    assert "no answer" in said
    assert "b'\"a word\"'" in said
    assert "Traceback" in said


def test_an_error_without_a_request_is_told_with_its_causes():
    error = FlakyFailure("Inconsistent results: it failed on the first run but now succeeds", [ValueError("the cause")])
    said = told(NonFatalError(error=error, phase=None, label="POST /annotations", related_to_operation=True))
    assert said.startswith("POST /annotations, no phase, after 0 requests:")
    assert "ValueError: the cause" in said
