"""Why a file cannot be read, in words for a person."""

from __future__ import annotations


def cause_of(error: Exception) -> str:
    """The cause, without its number and without the file, which the sentence names already."""
    if isinstance(error, IsADirectoryError):
        return "it is a folder"
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
