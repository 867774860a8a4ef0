"""The catalogue: which images there are, with their content hash and split.

An image is its content: files with the same bytes are one image, which is asked about once. A file that was renamed or
came back keeps its id and labels. The split is drawn from the salted hash when a content is first seen, and then kept.
So images added later get fair splits too. Later events of an image (removed, back, moved to another split) are rows of
the annotation log, which decides. The tables here only say where the bytes are.

This module reads no pixels: `file_index` reads files, `scanner` decides when, and `file_registry` records them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Connection, bindparam, func, select, update

from labeler.errors import Missing
from labeler.images.file_registry import Census, FileRegistry, Found, Root, Unmet
from labeler.images.split_draw import Drawing
from labeler.store.annotation_log import AnnotationLog, Draft
from labeler.store.database import Store
from labeler.store.present import PresentImages
from labeler.store.tables import FILE, IMAGE
from shared.images.opening import Inspected
from shared.settings.services import LabelerSettings
from shared.wire.fields import Source, Split
from shared.wire.images import ImageEntry, ImagePage

Outcome = Literal["added", "duplicate", "rejected"]
_CHUNK = 500  # values in one SQL statement
_AT_ONCE = 500  # images of a page that are read while holding the lock


@dataclass(frozen=True, slots=True)
class Located:
    """An image's content hash, format, pixels, and the files in which it was seen, its main file first."""

    sha256: str
    format: str
    files: list[tuple[Root, str]]
    pixels: int


class Catalog:
    """The images of one workspace. Raises SettingsError if the splits were drawn with other shares."""

    def __init__(
        self,
        store: Store,
        log: AnnotationLog,
        present: PresentImages,
        settings: LabelerSettings,
        sources: Mapping[str, Source],
    ) -> None:
        self._store = store
        self.files = FileRegistry(store)
        self._log = log
        self._present = present
        self._max_images = settings.max_images
        self.missing: set[int] = set()  # answered images without a file, known after a complete scan
        self.drawing = Drawing(store, settings, sources)
        self._load()

    @property
    def duplicates(self) -> int:
        """The number of files beyond the first of each content."""
        return max(0, self.files.readable + len(self.missing) - len(self._present.splits))

    def record(
        self, root: Root, found: Sequence[Found], split: Split | Mapping[str, Split | None] | None = None
    ) -> list[Outcome]:
        """Record files that were just read, in one transaction per 500 files. New contents become images in the queue.

        New images go into `split`, which may be given per URI; None draws it.
        """
        with self._store.lock:
            outcomes: list[Outcome] = []
            for start in range(0, len(found), _CHUNK):
                with self._store.write() as connection:
                    written, added = self._record(connection, root, found[start : start + _CHUNK], split)
                outcomes += written
                for image in added:
                    self._present.take_in(image["id"], image["split"], image["place"])
            return outcomes

    def with_content(self, hashes: Collection[str]) -> dict[str, tuple[int, Split]]:
        """The images with these contents, including removed ones, each with its current split or the one it would
        return to."""
        wanted, found = list(hashes), dict[str, tuple[int, Split]]()
        with self._store.read() as connection:
            for start in range(0, len(wanted), _CHUNK):
                statement = select(IMAGE.c.sha256, IMAGE.c.id, IMAGE.c.split)
                for sha256, image_id, drawn in connection.execute(
                    statement.where(IMAGE.c.sha256.in_(wanted[start : start + _CHUNK]))
                ):
                    found[sha256] = (image_id, self._split_now(image_id, drawn))
        return found

    @property
    def room(self) -> int:
        """How many more images can be added."""
        return self._max_images - len(self._present.splits)

    @property
    def full(self) -> str:
        """Why no more images can be added."""
        return f"exceeds the limit of {self._max_images:,} images set by max_images"

    def unlisted(self, root: Root, census: Census) -> Iterator[Unmet]:
        """Files of `root` that a listing (`census`) does not have, and whose image is answered."""
        for some in self.files.unmet(root, census):
            yield from (each for each in some if self._is_answered(each.image_id))

    def settle_images(self) -> None:
        """Point each image at an existing file, and log which images have none left or are back.

        An answered image stays without a file: it is `missing`.
        """
        with self._store.lock:
            with self._store.write() as connection:
                homeless = self._homeless(connection)
                rehomed = set(self._rehome(connection, homeless))
                lost = [image_id for image_id in homeless if image_id not in rehomed]
                gone = [image_id for image_id in lost if not self._is_answered(image_id)]
                self._change(connection, [{"image": image_id} for image_id in gone])
            kept = set(filter(self._is_answered, self._log.fold.removed))  # removed by an earlier version
            self.missing = {*lost, *kept} - {*gone}
            self._log.append([Draft(action="image_removed", image_id=image_id) for image_id in gone])
            self.move(kept)
            self.bring_back()

    def first_missing(self, limit: int) -> list[int]:
        """The first of the `missing` images, in order of id."""
        with self._store.lock:
            return sorted(self.missing)[:limit]

    def bring_back(self) -> None:
        """Log which removed images have a file again. Missing images with a file are no longer `missing`."""
        with self._store.lock:
            away = self._log.fold.removed | self.missing
            with self._store.write() as connection:
                back = self._rehome(connection, sorted(away))
            self.missing -= set(back)
            self.move(back)

    def move(
        self,
        image_ids: Collection[int],
        split: Split | None = None,
        *,
        annotator: str = "",
        reason: str | None = None,
    ) -> None:
        """Log that these images are in `split`; None keeps each in its own. Removed images are then back."""
        with self._store.lock:
            drawn = self._drawn(image_ids)
            splits = {image_id: split or self._split_now(image_id, drawn[image_id][0]) for image_id in drawn}
            moved = [image_id for image_id in drawn if self._present.splits.get(image_id) != splits[image_id]]
            with self._store.write() as connection:
                self._change(connection, [{"image": image_id} for image_id in moved])
            self._log.append(
                [
                    Draft(
                        action="split_changed",
                        image_id=image_id,
                        split=splits[image_id],
                        annotator=annotator,
                        reason=reason,
                    )
                    for image_id in moved
                ]
            )

    def drawn(self, image_ids: Collection[int]) -> dict[int, Split]:
        """The split into which each image was originally drawn, whatever the log has changed since."""
        return {image_id: split for image_id, (split, _) in self._drawn(image_ids).items()}

    def page(self, after: int, limit: int) -> ImagePage:
        """Images whose last change came after version `after`, in that order; `next` continues the list."""
        entries: list[ImageEntry] = []
        while True:
            size = min(_AT_ONCE, limit - len(entries))
            statement = select(IMAGE).where(IMAGE.c.changed > after).order_by(IMAGE.c.changed).limit(size)
            with self._store.lock, self._store.read() as connection:  # freed after each part
                rows = connection.execute(statement).mappings().all()
                entries += [self._entry(row) for row in rows]
                version = self.version
            after = rows[-1]["changed"] if rows else after
            if len(rows) < size or len(entries) == limit:
                return ImagePage(images=entries, next=after, catalog_version=version, log_id=self._log.log_id)

    def entries(self, after_id: int, limit: int) -> list[ImageEntry]:
        """Images in order of id."""
        statement = select(IMAGE).where(IMAGE.c.id > after_id).order_by(IMAGE.c.id).limit(limit)
        with self._store.lock, self._store.read() as connection:
            return [self._entry(row) for row in connection.execute(statement).mappings()]

    def some(self, image_ids: Sequence[int]) -> dict[int, ImageEntry]:
        """Entries of the given images that exist; up to one page."""
        with self._store.lock, self._store.read() as connection:
            rows = connection.execute(select(IMAGE).where(IMAGE.c.id.in_(image_ids))).mappings()
            return {row["id"]: self._entry(row) for row in rows}

    def shapes(self, image_ids: Sequence[int]) -> dict[int, tuple[int, int]]:
        """Width and height in pixels of up to one page of images."""
        statement = select(IMAGE.c.id, IMAGE.c.width, IMAGE.c.height).where(IMAGE.c.id.in_(image_ids))
        with self._store.read() as connection:
            return {image_id: (width, height) for image_id, width, height in connection.execute(statement)}

    def locate(self, image_id: int) -> Located:
        """The files of an image. Raises Missing."""
        with self._store.read() as connection:
            image = connection.execute(select(IMAGE).where(IMAGE.c.id == image_id)).mappings().first()
            if image is None:
                raise Missing(f"There is no image {image_id}.")
            places = dict.fromkeys([(image["root"], image["uri"]), *self.files.places(connection, image_id)])
        return Located(image["sha256"], image["format"], list(places), image["width"] * image["height"])

    def hashes(self, image_ids: Sequence[int]) -> dict[int, str]:
        """Content hashes of a page of images."""
        with self._store.read() as connection:
            found = connection.execute(select(IMAGE.c.id, IMAGE.c.sha256).where(IMAGE.c.id.in_(image_ids)))
            return {row.id: row.sha256 for row in found}

    def _load(self) -> None:
        with self._store.lock, self._store.read() as connection:
            self.version: int = connection.execute(select(func.coalesce(func.max(IMAGE.c.changed), 0))).scalar_one()
            self._last_id: int = connection.execute(select(func.coalesce(func.max(IMAGE.c.id), 0))).scalar_one()
            images = connection.execution_options(yield_per=5_000).execute(
                select(IMAGE.c.id, IMAGE.c.split, IMAGE.c.place)
            )
            for image_id, drawn, place in images:
                self._present.take_in(image_id, drawn, place)

    def _record(
        self,
        connection: Connection,
        root: Root,
        found: Sequence[Found],
        split: Split | Mapping[str, Split | None] | None,
    ) -> tuple[list[Outcome], list[dict[str, Any]]]:
        """The outcome for each file, and the images added. Each statement covers all files, because one statement costs
        as much as reading a file."""
        hashes = [each.inspected.sha256 for each in found if each.inspected is not None]
        images = connection.execute(select(IMAGE.c.sha256, IMAGE.c.id).where(IMAGE.c.sha256.in_(hashes)))
        image_of = {row.sha256: row.id for row in images}
        outcomes: list[Outcome] = []
        added: list[dict[str, Any]] = []
        files: list[tuple[Found, int | None, str | None]] = []
        for each in found:
            outcome: Outcome = "rejected"
            image_id, reason = None, each.reason
            if each.inspected is not None:
                image_id = image_of.get(each.inspected.sha256)
                outcome = "duplicate"
                if image_id is None and len(self._present.splits) + len(added) >= self._max_images:
                    outcome, reason = "rejected", self.full
                elif image_id is None:
                    chosen = split.get(each.uri) if isinstance(split, Mapping) else split
                    added.append(self._new(root, each.uri, each.inspected, chosen))
                    image_id = image_of[each.inspected.sha256] = added[-1]["id"]
                    outcome = "added"
            outcomes.append(outcome)
            files.append((each, image_id, reason))
        if added:
            connection.execute(IMAGE.insert(), added)
        self.files.write(connection, root, files)
        return outcomes, added

    def _new(self, root: Root, uri: str, inspected: Inspected, split: Split | None) -> dict[str, Any]:
        place = self.drawing.place(inspected.sha256)
        self._last_id += 1
        self.version += 1
        return {
            "id": self._last_id,
            "root": root,
            "uri": uri,
            "sha256": inspected.sha256,
            "width": inspected.width,
            "height": inspected.height,
            "format": inspected.format,
            "split": split or self.drawing.split(place),
            "place": place,
            "changed": self.version,
        }

    def _change(self, connection: Connection, images: Iterable[dict[str, Any]]) -> None:
        """Give each `image` the next version, and set the other values of its entry."""
        changed: list[dict[str, Any]] = []
        for each in images:
            self.version += 1
            changed.append({**each, "changed": self.version})
        if changed:
            connection.execute(update(IMAGE).where(IMAGE.c.id == bindparam("image")), changed)

    def _homeless(self, connection: Connection) -> list[int]:
        """Images whose main file no longer contains them."""
        home = (FILE.c.image_id == IMAGE.c.id) & (FILE.c.root == IMAGE.c.root) & (FILE.c.uri == IMAGE.c.uri)
        statement = select(IMAGE.c.id).outerjoin(FILE, home).where(FILE.c.id.is_(None)).order_by(IMAGE.c.id)
        removed = self._log.fold.removed
        return [image_id for image_id in connection.execute(statement).scalars() if image_id not in removed]

    def _rehome(self, connection: Connection, image_ids: Sequence[int]) -> list[int]:
        """Point each image at the first file that contains it; returns the images that have one."""
        homes = self.files.first_places(connection, image_ids)
        self._change(connection, homes)
        return [each["image"] for each in homes]

    def _is_answered(self, image_id: int | None) -> bool:
        return self._log.fold.state(image_id or 0).begun

    def _drawn(self, image_ids: Collection[int]) -> dict[int, tuple[Split, float]]:
        wanted = list(image_ids)
        drawn: dict[int, tuple[Split, float]] = {}
        with self._store.read() as connection:
            for start in range(0, len(wanted), _CHUNK):
                statement = select(IMAGE.c.id, IMAGE.c.split, IMAGE.c.place)
                chunk = statement.where(IMAGE.c.id.in_(wanted[start : start + _CHUNK]))
                drawn |= {image_id: (split, place) for image_id, split, place in connection.execute(chunk)}
        return drawn

    def _split_now(self, image_id: int, drawn: Split) -> Split:
        return self._log.fold.splits.get(image_id, drawn)

    def _entry(self, row: Any) -> ImageEntry:
        image_id: int = row["id"]
        return ImageEntry(
            id=image_id,
            uri=row["uri"],
            sha256=row["sha256"],
            split=self._split_now(image_id, row["split"]),
            removed=image_id in self._log.fold.removed,
        )
