"""Imports labels: rows of a file become rows of the log with `source: import`.

A file sent in one post or in many is one import: the result of each row depends on the rows before it, no matter how
they are divided into posts (`import_plan`). A dry run has the same result and writes nothing.

An answer's id is derived from the project, the image and the answer, so a row that is imported again, even after a
kill, changes nothing. `import_answers` decides on rows that contradict other answers. A held-out image gets no imported
answer unless the row names its split: accuracy is measured on labels that were given independently.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import groupby
from time import monotonic
from uuid import UUID, uuid4, uuid5

from labeler.errors import Missing
from labeler.images.catalog import Catalog
from labeler.images.file_index import Files, prefix
from labeler.images.file_registry import Root
from labeler.images.image_names import ImageNames
from labeler.labeling.classes import Classes
from labeler.store.annotation_log import AnnotationLog
from labeler.store.counts import Counts
from labeler.store.database import Store
from labeler.transfer.import_answers import Given, ImportAnswers, content
from labeler.transfer.import_plan import ORDER, ImportPlan
from labeler.transfer.import_values import Candidate, ImportValues
from labeler.transfer.uploads import Uploads
from shared.class_names import near
from shared.images.opening import ImageProblem
from shared.images.sources.addresses import is_address
from shared.wire.imports import ImportIssue, ImportPost, ImportReceipt, ImportRow

NOT_THERE = "does not exist"
IN_THE_FILE = (
    "is an image inside the file, and the project has none with its content or name: `flywheel fetch FOLDER NEW` "
    "extracts the images of such files with their labels"
)
OUTSIDE: Root = ""
"""The root of a row whose path is in none of the roots."""
WORKERS = 2  # number of threads that read new files
MOST_IMPORTS = 8
"""Maximum number of unfinished imports that are kept."""
IDLE_SECONDS = 3_600.0
"""Seconds without a new part after which an import is dropped, once the next one begins."""
_BEGAN_WITHOUT_CLASSES = "import began without classes"


class Imports:
    """Imports rows into one workspace. An `ImportPlan` keeps the rows of one import."""

    def __init__(
        self, store: Store, log: AnnotationLog, tally: Counts, classes: Classes, catalog: Catalog, files: Files
    ) -> None:
        self._store = store
        self._log = log
        self._tally = tally
        self._catalog = catalog
        self._files = files
        self._uploads = Uploads(store)
        self._values = ImportValues(log, classes, catalog)
        self.image_names = ImageNames(store)
        self._project = UUID(store.settled("project", str(uuid4())))  # unlike the log's id, it survives a restore
        self._plans: dict[UUID, ImportPlan] = {}  # unfinished imports, last used at the end

    @property
    def task(self) -> str:
        """The project's task."""
        return self._log.fold.task.name

    def like(self, names: Iterable[str]) -> dict[str, list[str]]:
        """Names that may be misspelled classes: name → similar classes."""
        with self._store.lock:
            classes = [known.name for known in self._log.fold.live_classes()]
        return {name: found for name in names if (found := near(name, classes))}

    def take(self, post: ImportPost) -> ImportReceipt:
        """Write the valid rows, or only check them in a dry run. What is written is on disk when this returns.

        Raises Missing if the post continues an unknown import.
        """
        plan = self._plan(post)
        try:
            with plan.turn:
                return self._take(post, plan)
        except Exception:
            with self._store.lock:
                self._plans.pop(plan.id, None)  # not everything it said is in the log
            raise

    def _take(self, post: ImportPost, plan: ImportPlan) -> ImportReceipt:
        receipt = ImportReceipt(import_id=plan.id if post.more else None)
        given = self._resolved(plan.completed(post.rows), receipt)
        self._catalogue(given, receipt, plan)
        self._values.place(given, receipt, plan)
        with self._store.lock:
            self._values.name(given, receipt, plan)
            self._write(given, receipt, plan, last=not post.more)
            if not post.more:
                self._end(plan)
        return receipt

    def _plan(self, post: ImportPost) -> ImportPlan:
        """The import that the post begins or continues."""
        with self._store.lock:
            if post.import_id is None:
                idle = [each for each in self._plans.values() if monotonic() - each.used > IDLE_SECONDS]
                for old in [*idle, *[*self._plans.values()][: max(0, len(self._plans) - MOST_IMPORTS + 1)]]:
                    self._plans.pop(old.id, None)
                plan = ImportPlan(post, self._log, self._tally, self._catalog, adding=self._adds_classes(post))
            else:
                found = self._plans.pop(post.import_id, None)
                if found is None:
                    raise Missing(
                        "This import is no longer known: start it again. Rows that were already written "
                        "are then skipped."
                    )
                plan = found
            plan.used = monotonic()
            if post.more:
                self._plans[plan.id] = plan
            return plan

    def _adds_classes(self, post: ImportPost) -> bool:
        """Whether unknown classes are added: if requested, or if there was no class when the import began.

        This stays true after an interrupted import, until an import is completed, so that it can be started again.
        """
        if post.add_classes:
            return True
        if self._log.fold.live_classes() and not self._store.kept(_BEGAN_WITHOUT_CLASSES):
            return False
        if not post.dry_run:
            self._store.keep(_BEGAN_WITHOUT_CLASSES, "yes")
        return True

    def _end(self, plan: ImportPlan) -> None:
        if not plan.dry_run and self._store.kept(_BEGAN_WITHOUT_CLASSES):
            self._store.keep(_BEGAN_WITHOUT_CLASSES, None)

    def _resolved(self, rows: Sequence[ImportRow], receipt: ImportReceipt) -> list[Candidate]:
        """Find the file of each row by text alone, because checking a million files on disk would take minutes."""
        bases = [
            (base.rstrip("/") + "/", root)
            for root, folder in self._files.folders.items()
            for base in {str(folder.absolute()), str(folder.resolve())}
        ]
        given = []
        held = self._catalog.with_content({row.sha256 for row in rows if row.sha256 is not None})
        for row in rows:
            if row.sha256 in held:
                given.append(Candidate(row, uri=row.uri, image_id=held[row.sha256][0]))
                continue
            root_uri = _place(row.uri.removeprefix("file://"), bases, self._files.root_of) or self._addressed(row.uri)
            if root_uri is None and "://" in row.uri.removeprefix("file://"):
                reason = f"is an address, not a file in {self._folder}"
                receipt.rejected.append(ImportIssue(line=row.line, uri=row.uri, reason=reason))
            else:
                given.append(Candidate(row, *(root_uri or (OUTSIDE, row.uri))))
        return given

    def _addressed(self, uri: str) -> tuple[Root, str] | None:
        """Root and URI of an address under one of the project's."""
        try:
            return self._files.uri_of(uri) if is_address(uri) else None
        except ImageProblem:
            return None

    @property
    def _folder(self) -> str:
        return f"the image folder {self._files.roots.get('images', '')}".rstrip()

    def _catalogue(self, given: list[Candidate], receipt: ImportReceipt, plan: ImportPlan) -> None:
        """Find the image of each row; new files are added to the catalogue, or only checked in a dry run."""
        self._find(given)
        self._find_uploaded(given, receipt)
        self._find_by_name(given, receipt)
        new: dict[tuple[Root, str], ImportRow] = {}
        for each in given:
            if each.image_id is None:
                new.setdefault((each.root, each.uri), each.row)
        reasons = self._take_in(new, receipt, plan)
        if new:
            self._find(given)
        for each in given:
            if each.image_id is None:
                looked = plan.looked(each.root, each.uri)
                each.image_id = looked if isinstance(looked, int) else None
            if each.image_id is None:
                reason = reasons.get((each.root, each.uri)) or "cannot be used"
                if each.row.sha256 is not None and reason == NOT_THERE:
                    reason = IN_THE_FILE
                receipt.rejected.append(ImportIssue(line=each.row.line, uri=each.row.uri, reason=reason))
        given[:] = [each for each in given if each.image_id is not None]

    def _find(self, given: list[Candidate]) -> None:
        for root in self._files.roots:
            missing = [each for each in given if each.root == root and each.image_id is None]
            image_of = self._catalog.files.images_of(root, list({each.uri for each in missing}))
            for each in missing:
                each.image_id = image_of.get(each.uri)

    def _find_uploaded(self, given: list[Candidate], receipt: ImportReceipt) -> None:
        """Find the uploaded images of rows whose file is not in the image folder, by name."""
        if not self._catalog.files.has("uploads"):
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
                reason = f"is the name of {len(fits)} uploaded images: include its folder"
                receipt.rejected.append(ImportIssue(line=each.row.line, uri=each.row.uri, reason=reason))
                unclear.add(id(each))
        given[:] = [each for each in given if id(each) not in unclear]
        self._find(given)

    def _find_by_name(self, given: list[Candidate], receipt: ImportReceipt) -> None:
        """Find rows with a differently spelled name; reports them, and rejects ambiguous ones."""
        missing = [
            each
            for each in given
            if each.image_id is None and (each.root == OUTSIDE or self._files.stamp(each.root, each.uri) == (0, 0))
        ]
        meant = self.image_names.meant({each.uri for each in missing if not _is_another(each)})
        rejected: set[int] = set()
        for each in missing:
            found = meant.get(each.uri)
            reason = f"is outside {self._folder}" if found is None and each.root == OUTSIDE else ""
            if reason and each.row.sha256 is not None:
                reason = IN_THE_FILE
            if found is not None and not found.unclear:
                each.root, each.uri, each.image_id = found.root, found.uri, found.image_id
                receipt.matched[found.difference] = receipt.matched.get(found.difference, 0) + 1
                receipt.matched_as.setdefault(found.difference, (each.row.uri, found.uri))
            elif found is not None:
                reason = found.unclear
            if reason:
                receipt.rejected.append(ImportIssue(line=each.row.line, uri=each.row.uri, reason=reason))
                rejected.add(id(each))
        given[:] = [each for each in given if id(each) not in rejected]

    def _take_in(
        self, new: dict[tuple[Root, str], ImportRow], receipt: ImportReceipt, plan: ImportPlan
    ) -> dict[tuple[Root, str], str]:
        """Read and catalogue the files, each in its row's split. Returns why some cannot be used."""
        reasons: dict[tuple[Root, str], str] = {}
        with ThreadPoolExecutor(WORKERS, thread_name_prefix="import") as pool:
            for root, some in groupby(new, key=lambda each: each[0]):  # in the order of the rows
                uris = [uri for _, uri in some if plan.looked(root, uri) is None]
                found = list(pool.map(partial(self._files.look_at_named, root), uris))
                there = [each for each in found if (each.size, each.mtime_ns) != (0, 0)]
                for each in found:  # a store may be away, and a scan skips some files
                    gone = each.reason in (None, "no longer exists")
                    reasons[root, each.uri] = NOT_THERE if gone else str(each.reason)
                wanted = {uri: new[root, uri].split for uri in uris}
                if plan.dry_run:
                    receipt.images += plan.take_in(root, there, wanted)
                    continue
                outcomes = self._catalog.record(root, there, wanted)
                receipt.images += outcomes.count("added")
                for each, outcome in zip(there, outcomes, strict=True):
                    reasons[root, each.uri] = "" if outcome != "rejected" else each.reason or self._catalog.full
        if new and not plan.dry_run:
            self._catalog.bring_back()
        looked = {key: told for key in new if isinstance(told := plan.looked(*key), str)}
        return {key: reason for key, reason in reasons.items() if reason} | looked

    def _write(self, given: Sequence[Candidate], receipt: ImportReceipt, plan: ImportPlan, *, last: bool) -> None:
        """Judge the rows one after another, then write the result: first splits, then answers."""
        ids = [[uuid5(self._project, content(each.image_id, said)) for said in each.said] for each in given]
        known = self._log.known([row_id for some in ids for row_id in some])
        answers = ImportAnswers(self._log, plan, receipt, known)
        for each, some in zip(given, ids, strict=True):
            if each.image_id is not None and self._is_placed(each.row, each.image_id, receipt, plan):
                answers.take(Given(each.row, each.image_id, each.values), some)
        if plan.dry_run:
            return
        drafted = {draft.image_id for draft in answers.drafts if draft.image_id is not None}
        first = {image_id for image_id in drafted if not self._log.fold.state(image_id).begun}
        for split, image_ids in plan.moves(first, last=last).items():
            self._catalog.move([image for image in image_ids if self._tally.splits.get(image) != split], split)
        self._log.append(answers.drafts)
        plan.said.written()

    def _is_placed(self, row: ImportRow, image_id: int, receipt: ImportReceipt, plan: ImportPlan) -> bool:
        """Whether the row's label counts: not for a held-out image, unless the row gives its split."""
        now, wanted, before = plan.split(image_id), row.split, plan.said.split(image_id)
        if now not in (None, "train") and wanted is None and before != now:
            receipt.held_out += 1
            return False
        reason = None
        if now is None:
            reason = "was removed from the project"
        elif wanted is not None and before is not None and ORDER.index(wanted) < ORDER.index(before):
            reason = f"is in {wanted} in this row but in {before} in an earlier row: it stays a {before} image"
        elif now == "test" and wanted == "train" and plan.state(image_id).begun:
            reason = "is a labeled test image: it stays a test image"
        elif now == "train" and wanted in ("test", "validation") and image_id in self._log.fold.answered_here:
            reason = f"was answered here with suggestions visible: it cannot become a {wanted} image"
        if reason is not None:
            receipt.rejected.append(ImportIssue(line=row.line, uri=row.uri, reason=reason))
            return False
        if wanted is not None:
            if before is not None and before != wanted:
                told = f"was in {before} in an earlier row: it is now a {wanted} image"
                receipt.conflicts.append(ImportIssue(line=row.line, uri=row.uri, reason=told))
                receipt.overwritten += 1
            plan.move(image_id, wanted)
        return True


def _is_another(given: Candidate) -> bool:
    """Whether the row names an existing file outside the roots, which is not the image of the same name here."""
    return given.root == OUTSIDE and given.uri.startswith("/") and os.path.isfile(given.uri)  # noqa: PTH113


def _place(uri: str, bases: Sequence[tuple[str, Root]], root_of: Callable[[str], Root]) -> tuple[Root, str] | None:
    """Root and URI of a path that is relative to the image folder, or absolute and inside a root, by text alone."""
    if "://" in uri:
        return None
    if not uri.startswith("/"):
        path = os.path.normpath(uri)
        return None if path.startswith("..") else (root_of(path), path)
    path = os.path.normpath(uri)
    return next(((root, prefix(root) + path[len(base) :]) for base, root in bases if path.startswith(base)), None)
