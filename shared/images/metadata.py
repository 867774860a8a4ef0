"""Removes metadata that no pixel depends on (text, profiles, comments), because it may be broken in a sound image."""

from __future__ import annotations

import struct
import zlib


def png_without_notes(data: bytes) -> bytes:
    """A PNG without text, profiles and other chunks that no pixel depends on; Pillow limits or checks all of them."""
    kept, at, whole = [data[:8]], 8, True
    while at + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        end = at + 12 + length
        if end > len(data):
            break
        if kind[:1].isupper() or kind == b"tRNS" or (kind == b"eXIf" and _is_sound(data[at + 4 : end])):
            kept.append(data[at:end])
        else:
            whole = False
        at = end
        if kind == b"IEND":
            break
    return data if whole else b"".join([*kept, data[at:]])


def jpeg_without_segments(data: bytes) -> bytes:
    """A JPEG without profiles, comments and the like. Keeps EXIF (orientation) and the segment on colour coding."""
    kept, at = [data[:2]], 2
    while data[at : at + 1] == b"\xff" and at + 4 <= len(data):
        kind, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        if kind == 0xDA:  # pixels follow
            break
        coded = kind == 0xEE and length >= 14
        if kind == 0xE1 or coded or not (0xE0 <= kind <= 0xEF or kind == 0xFE):
            kept.append(data[at : at + 2 + length])
        at += 2 + length
    return b"".join([*kept, data[at:]])


def _is_sound(chunk: bytes) -> bool:
    return zlib.crc32(chunk[:-4]) == int.from_bytes(chunk[-4:], "big")
