"""Opens the engine that the settings name. Ray is imported only when they name it."""

from __future__ import annotations

from shared.settings.services import SettingsError, TrainerSettings
from trainer.engine.engine import Engine, LocalEngine


def open_engine(settings: TrainerSettings) -> Engine:
    """The engine in the settings. Raises SettingsError if Ray is not installed or has no address."""
    if settings.engine == "local":
        return LocalEngine()
    if not settings.ray_address:
        raise SettingsError(
            "The trainer setting 'engine' is 'ray', which needs the address of a Ray cluster: set 'ray_address' to "
            "ray://HOST:10001."
        )
    try:
        from trainer.engine.ray_engine import RayEngine
    except ImportError:
        raise SettingsError(
            "The trainer setting 'engine' is 'ray', but Ray is not installed: pip install 'flywheel-labeling[ray]'."
        ) from None
    return RayEngine(settings)
