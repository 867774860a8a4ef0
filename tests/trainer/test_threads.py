"""A process of the trainer leaves a core to others."""

from __future__ import annotations

import os

import pytest
import torch
from starlette.testclient import TestClient
from threadpoolctl import ThreadpoolController

from shared.settings.services import TrainerSettings
from trainer.app import create_app
from trainer.threads import leave_a_core

MOST = max((os.cpu_count() or 1) - 1, 1)


@pytest.fixture
def many_threads():
    """Linear algebra and torch with more threads than there are cores."""
    libraries = ThreadpoolController().select(user_api="blas").lib_controllers
    before = [library.get_num_threads() for library in libraries], torch.get_num_threads()
    for library in libraries:
        library.set_num_threads(MOST + 1)
    torch.set_num_threads(MOST + 1)
    yield libraries
    for library, threads in zip(libraries, before[0], strict=True):
        library.set_num_threads(threads)
    torch.set_num_threads(before[1])


def threads_of(libraries) -> set[int]:
    return {library.get_num_threads() for library in libraries} | {torch.get_num_threads()}


def test_a_trainer_computes_with_one_thread_fewer_than_cores(many_threads, tmp_path):
    assert threads_of(many_threads) == {MOST + 1}
    settings, sources = TrainerSettings.load(command_line={"workspace": tmp_path, "backbone": "pixels"})
    with TestClient(create_app(settings, sources)):
        assert threads_of(many_threads) == {MOST}


def test_a_lower_thread_limit_is_kept(many_threads):
    for library in many_threads:
        library.set_num_threads(1)
    torch.set_num_threads(1)
    leave_a_core()
    assert threads_of(many_threads) == {1}
