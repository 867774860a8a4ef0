import subprocess
import sys

import pytest
import timm

from shared.settings.network_names import check_network, names
from shared.settings.services import SettingsError
from tests.services import HOME


def test_every_network_of_timm_is_known_without_importing_it():
    assert set(timm.list_models()) <= names()
    light = (
        "import sys; from shared.settings import network_names as n; n.check_network('resnet18'); print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", light], cwd=HOME, capture_output=True, text=True, check=True)
    assert {"timm", "torch"}.isdisjoint(done.stdout.split())


@pytest.mark.parametrize("name", ["resnet50", "resnet50.a1_in1k", "vit_small_patch14_dinov2.lvd142m"])
def test_a_network_that_there_is_passes(name):
    check_network(name)


def test_a_wrong_name_gets_near_ones():
    with pytest.raises(SettingsError, match=r"timm has no network 'resnet_50'\. Did you mean resnet50"):
        check_network("resnet_50")
    with pytest.raises(SettingsError, match=r"no network 'qqqqqq'\.$"):
        check_network("qqqqqq")
