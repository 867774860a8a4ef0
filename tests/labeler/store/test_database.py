from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from labeler.store.database import Store
from labeler.store.tables import LabelerTable
from shared.settings.services import SettingsError
from tests.labeler.projects import settings


def test_the_revisions_lead_to_the_tables(tmp_path: Path) -> None:
    store = Store(settings(tmp_path))
    with store.read() as connection:
        assert compare_metadata(MigrationContext.configure(connection), LabelerTable.metadata) == []
    store.close()


def test_a_value_once_settled_stays(tmp_path: Path) -> None:
    for value in ("first", "second"):
        store = Store(settings(tmp_path))
        assert store.settled("salt", value) == "first"
        store.close()


@pytest.mark.parametrize(
    "url",
    [
        "nonsense",
        "sqlite:////proc/none/flywheel.db",
        "mysql+none://me:secret@host/db",
        "postgresql+psycopg://me:secret@host:port/db",
    ],
)
def test_a_database_that_cannot_be_opened(tmp_path: Path, url: str) -> None:
    with pytest.raises(SettingsError, match="cannot be opened") as refused:
        Store(settings(tmp_path, database_url=url))
    assert "secret" not in str(refused.value)


def test_not_a_database(tmp_path: Path) -> None:
    (tmp_path / "workspace").mkdir()
    (tmp_path / "workspace" / "flywheel.db").write_bytes(b"no database at all, but some bytes" * 100)
    with pytest.raises(SettingsError, match="not a database"):
        Store(settings(tmp_path))


def test_a_database_of_a_newer_version_is_left_as_it_is(tmp_path: Path) -> None:
    store = Store(settings(tmp_path))
    with store.write() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    store.close()
    with pytest.raises(SettingsError, match=r"newer version of Flywheel \(9999\): update Flywheel"):
        Store(settings(tmp_path))
