"""Labels brought along: rows of a file become rows of the log with `source: import`.

An id follows from the project, the image and what is said of it, so that a row imported twice, or after a kill, changes
nothing. What becomes of a row that contradicts another answer is decided in `import_answers`. What the project drew to
measure with keeps no given answer unless the row says which split it is in: accuracy is measured on labels that were
given without looking at any other.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from uuid import UUID, uuid4, uuid5

from labeler.annotation_log import AnnotationLog
from labeler.catalog import Catalog, Root
from labeler.classes import Classes
from labeler.database import Store
from labeler.files import Files, prefix
from labeler.import_answers import Given, ImportAnswers
from labeler.tally import Tally
from labeler.uploads import Uploads
from shared.log import IMPORT
from shared.messages import ImportedAnswer, ImportIssue, ImportPost, ImportReceipt, ImportRow, Split
from shared.names import Spellings, meant

WORKERS = 2  # threads that look at files new to the catalogue


@dataclass(slots=True)
class _Given:
    """A row and what was found out about it."""

    row: ImportRow
    root: Root = "images"
    uri: str = ""
    image_id: int | None = None
    classes: dict[str, int | str] = field(default_factory=dict)  # of the names in its answers, or of its label

    @property
    def said(self) -> Sequence[ImportRow | ImportedAnswer]:
        """The answers that it gives: of several people, or its own."""
        return self.row.answers or [self.row]

    @property
    def names(self) -> list[str]:
        """The classes that it names, each once."""
        return list(dict.fromkeys(each.label for each in self.said if each.label is not None))


class Imports:
    """Takes rows into one workspace."""

    def __init__(
        self, store: Store, log: AnnotationLog, tally: Tally, classes: Classes, catalog: Catalog, files: Files
    ) -> None:
        self._store = store
        self._log = log
        self._tally = tally
        self._classes = classes
        self._catalog = catalog
        self._files = files
        self._uploads = Uploads(store)
        self._project = UUID(store.settled("project", str(uuid4())))  # unlike the log's id, it outlives a restore

    @property
    def last_seq(self) -> int:
        """The log's end, by which the parts of one import are known as such."""
        return self._log.last_seq

    def take(self, post: ImportPost) -> ImportReceipt:
        """Write the rows that can be taken, or in a dry run only look; what was written is on disk."""
        receipt = ImportReceipt()
        given = self._resolved(post.rows, receipt)
        self._catalogue(given, receipt, write=not post.dry_run)
        with self._store.lock:
            self._name_classes(given, receipt, post)
            given = [each for each in given if self._may_be_labeled(each, receipt)]
            if not post.dry_run:
                self._move(given)
            self._write(given, receipt, post)
        return receipt

    def _resolved(self, rows: Iterable[ImportRow], receipt: ImportReceipt) -> list[_Given]:
        """Rows with the file that each names, by text alone: asking the disk about a million files takes minutes."""
        bases = [
            (base.rstrip("/") + "/", root)
            for root, folder in self._files.roots.items()
            for base in {str(folder.absolute()), str(folder.resolve())}
        ]
        given = []
        for row in rows:
            root_uri = _place(row.uri.removeprefix("file://"), bases, self._files.root_of)
            if root_uri is None:
                address = "://" in row.uri.removeprefix("file://")
                reason = "is an address, not a file in" if address else "lies outside"
                reason += f" the image folder {self._files.roots.get('images', '')}".rstrip()
                receipt.rejected.append(ImportIssue(line=row.line, uri=row.uri, reason=reason))
            else:
                given.append(_Given(row, *root_uri))
        return given

    def _catalogue(self, given: list[_Given], receipt: ImportReceipt, *, write: bool) -> None:
        """Find the image of each row; files new to the catalogue are taken in, in a dry run only looked for."""
        self._find(given)
        self._find_uploaded(given, receipt)
        new = {(each.root, each.uri): each.row for each in given if each.image_id is None}
        reasons: dict[tuple[Root, str], str] = {}
        if write:
            reasons = self._take_in(new, receipt)
            self._find(given)
        else:
            reasons = dict.fromkeys((key for key in new if self._files.stamp(*key) == (0, 0)), "is not there")
            receipt.images += len(new) - len(reasons)
        for each in given:
            reason = reasons.get((each.root, each.uri))
            if each.image_id is None and (write or reason):
                issue = ImportIssue(line=each.row.line, uri=each.row.uri, reason=reason or "cannot be taken")
                receipt.rejected.append(issue)
        if write:
            given[:] = [each for each in given if each.image_id is not None]
        else:
            given[:] = [each for each in given if (each.root, each.uri) not in reasons]

    def _find(self, given: list[_Given]) -> None:
        for root in self._files.roots:
            missing = [each for each in given if each.root == root and each.image_id is None]
            image_of = self._catalog.images_of(root, list({each.uri for each in missing}))
            for each in missing:
                each.image_id = image_of.get(each.uri)

    def _find_uploaded(self, given: list[_Given], receipt: ImportReceipt) -> None:
        """A row whose file is not in the image folder means the uploaded image of that name."""
        if not self._catalog.has_files("uploads"):
            return
        missing = [
            each
            for each in given
            if each.image_id is None and each.root == "images" and self._files.stamp("images", each.uri) == (0, 0)
        ]
        unclear: set[int] = set()
        meant = self._uploads.meant({each.uri for each in missing})
        for each in missing:
            fits = meant.get(each.uri, [])
            if len(fits) == 1:
                each.root, each.uri = "uploads", fits[0]
            elif fits:
                reason = f"is the name of {len(fits)} uploaded images: name its folder too"
                receipt.rejected.append(ImportIssue(line=each.row.line, uri=each.row.uri, reason=reason))
                unclear.add(id(each))
        given[:] = [each for each in given if id(each) not in unclear]
        self._find(given)

    def _take_in(self, new: dict[tuple[Root, str], ImportRow], receipt: ImportReceipt) -> dict[tuple[Root, str], str]:
        """Look at the files and record them, each in its row's split; returns why some cannot be taken."""
        reasons: dict[tuple[Root, str], str] = {}
        groups: dict[tuple[Root, Split | None], list[str]] = {}
        for (root, uri), row in new.items():
            groups.setdefault((root, row.split), []).append(uri)
        with ThreadPoolExecutor(WORKERS, thread_name_prefix="import") as pool:
            for (root, split), uris in groups.items():
                found = list(pool.map(partial(self._files.look_at, root), uris))
                there = [each for each in found if (each.size, each.mtime_ns) != (0, 0)]
                reasons |= dict.fromkeys(((root, uri) for uri in uris), "is not there")
                reasons |= {(root, each.uri): each.reason or "" for each in there}
                receipt.images += self._catalog.record(root, there, split).count("added")
        if new:
            self._catalog.bring_back()
        return {key: reason for key, reason in reasons.items() if reason}

    def _name_classes(self, given: list[_Given], receipt: ImportReceipt, post: ImportPost) -> None:
        """The class of each row; an unknown one is added where that is wanted, or where there is no class yet."""
        fold = self._log.fold
        labels = Counter(name for each in given for name in each.names)
        adding = post.add_classes or not fold.live_classes()
        ids: dict[str, int | str | None] = {name: fold.named(name) for name in labels}
        spellings = Spellings()
        for name, rows in labels.items():
            known = ids[name]
            if known is None:
                first = spellings.of(name)
                receipt.new_classes[first] = receipt.new_classes.get(first, 0) + rows
                known = ids[first]
                if known is None and adding:
                    known = first if post.dry_run else self._classes.add(first, IMPORT).id
            ids[name] = known
            called = fold.classes[known].name if isinstance(known, int) else spellings.of(name)
            if called != name and known is not None:
                receipt.counted_as[name] = called
        for each in given:
            named = {name: ids[name] for name in each.names}
            each.classes = {name: known for name, known in named.items() if known is not None}
            lacking = next((name for name, known in named.items() if known is None), None)
            if lacking is not None:
                like = meant(lacking, [known.name for known in fold.live_classes()])
                reason = f"is labeled {lacking!r}, which is no class here: add it first{like}"
                receipt.rejected.append(ImportIssue(line=each.row.line, uri=each.row.uri, reason=reason))
        if not adding:
            given[:] = [each for each in given if None not in map(ids.get, each.names)]

    def _may_be_labeled(self, each: _Given, receipt: ImportReceipt) -> bool:
        """Whether the row's label counts: not for an image held out to measure with, unless its row says so."""
        if each.image_id is None:  # new, in a dry run
            return True
        now, wanted = self._tally.splits.get(each.image_id), each.row.split
        if now is not None and now != "train" and wanted is None:
            receipt.held_out += 1
            return False
        reason = None
        if now is None:
            reason = "was removed from the project"
        elif now == "test" and wanted == "train" and self._log.fold.state(each.image_id).answered:
            reason = "is a test image that was labeled already: it stays one"
        elif now == "train" and wanted in ("test", "validation") and each.image_id in self._log.fold.answered_here:
            reason = f"was answered here with the model's opinion in sight: it cannot become a {wanted} image"
        if reason is not None:
            receipt.rejected.append(ImportIssue(line=each.row.line, uri=each.row.uri, reason=reason))
        return reason is None

    def _move(self, given: Sequence[_Given]) -> None:
        moves: dict[Split, list[int]] = {}
        for each in given:
            if each.row.split is not None and each.image_id is not None:
                moves.setdefault(each.row.split, []).append(each.image_id)
        for split, image_ids in moves.items():
            self._catalog.move([image for image in image_ids if self._tally.splits.get(image) != split], split)

    def _write(self, given: Sequence[_Given], receipt: ImportReceipt, post: ImportPost) -> None:
        ids = [[uuid5(self._project, _content(each, said)) for said in each.said] for each in given]
        known = self._log.known([row_id for some in ids for row_id in some])
        began = self._log.last_seq if post.began is None else post.began
        answers = ImportAnswers(self._log, receipt, known, post.conflicts, began)
        for each, some in zip(given, ids, strict=True):
            answers.take(Given(each.row, each.image_id or (each.root, each.uri), each.classes), some)
        if not post.dry_run:
            self._log.append(answers.drafts)


def _content(given: _Given, answer: ImportRow | ImportedAnswer) -> str:
    """What an answer says, of which its id is made."""
    said = answer.label or ""
    if answer.action != "label":
        said = f"\0{answer.action}{said}"  # no class is called so
    place = f"{given.root}\0{given.uri}" if given.image_id is None else given.image_id
    return f"{place}\0{answer.annotator}\0{said}"


def _place(uri: str, bases: Sequence[tuple[str, Root]], root_of: Callable[[str], Root]) -> tuple[Root, str] | None:
    """Root and URI of a path relative to the image folder, or absolute and inside a root; by its text alone."""
    if "://" in uri:
        return None
    if not uri.startswith("/"):
        path = os.path.normpath(uri)
        return None if path.startswith("..") else (root_of(path), path)
    path = os.path.normpath(uri)
    return next(((root, prefix(root) + path[len(base) :]) for base, root in bases if path.startswith(base)), None)
