import socket

import pytest

from shared.settings.services import SettingsError
from shared.web.server import SUPERVISED, bind, port_option


def test_a_port_in_use_names_the_option_that_chooses_another(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for service, supervised, option in [
            ("labeler", None, "--port;"),
            ("trainer", None, "--port;"),
            ("labeler", "1", "--port;"),
            ("trainer", "1", "--trainer-port;"),  # under `flywheel up`, where --port is the labeler's
        ]:
            monkeypatch.delenv(SUPERVISED, raising=False)
            if supervised:
                monkeypatch.setenv(SUPERVISED, supervised)
            with pytest.raises(SettingsError, match=f"Port {port} is already in use on 127.0.0.1") as refused:
                bind("127.0.0.1", port, option=port_option(service))
            assert f"with {option}" in str(refused.value)


def test_an_address_of_another_machine_is_reported():
    with pytest.raises(SettingsError, match=r"'192\.0\.2\.1' is not an address of this machine"):
        bind("192.0.2.1", 0)
    with pytest.raises(SettingsError, match="not an address of this machine"):
        bind("no.such.host.invalid", 0)
