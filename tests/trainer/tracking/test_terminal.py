import io
import time

from rich.console import Console

from shared.wire.trainer import Downloading, EmbeddingProgress
from trainer.tracking.terminal import ProgressBar


def test_the_bar_follows_the_embedding_to_its_end():
    screen = io.StringIO()
    done = iter([*range(0, 40, 10), *[40] * 1_000])
    bar = ProgressBar(
        lambda: EmbeddingProgress(done=next(done), total=40, seconds_left=90),
        Console(file=screen, force_terminal=True, width=80),
    )
    bar.start()
    deadline = time.monotonic() + 20
    while "/40" not in screen.getvalue() and time.monotonic() < deadline:
        time.sleep(0.05)
    bar.close()
    assert "Embedding" in screen.getvalue()
    assert "about 2 min left" in screen.getvalue()


def test_the_bar_says_how_much_of_a_network_has_arrived():
    screen = io.StringIO()
    download = Downloading(name="vit", done_bytes=23_000_000, total_bytes=88_000_000)
    bar = ProgressBar(
        lambda: EmbeddingProgress(done=0, total=40, download=download),
        Console(file=screen, force_terminal=True, width=80),
    )
    bar.start()
    deadline = time.monotonic() + 20
    while "23/88" not in screen.getvalue() and time.monotonic() < deadline:
        time.sleep(0.05)
    bar.close()
    assert "Downloading vit, MB" in screen.getvalue()


def test_a_file_gets_no_bar():
    log = io.StringIO()
    bar = ProgressBar(lambda: EmbeddingProgress(done=1, total=4), Console(file=log))
    bar.start()
    time.sleep(1.2)
    bar.close()
    assert "━" not in log.getvalue()
