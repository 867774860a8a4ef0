"""Flywheel from Python: `from flywheel import Flywheel`, for notebooks and scripts.

A small client of the two services' HTTP contract (docs/reference/api.md). Tables come back as pandas DataFrames. The
client holds no state but addresses, so that any number of clients may use one project.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote
from uuid import uuid4

from commands.connection import Connection, FlywheelError
from commands.given_labels import Label, answer_of, boxes_of_table, names_in, rows_of_table
from commands.labels import merge as merging
from commands.labels.exports import FILTERS, Wanted, download, format_of
from commands.labels.grouping import draw
from commands.labels.imports import send, task_of
from shared.class_names import lacking, meant
from shared.figures import BOX_METRICS, many
from shared.importing import COUNTED, Outcome, one_sentence
from shared.settings.services import SettingsError
from shared.tasks.registry import task_named
from shared.web.parts import parts, text_length
from shared.wire.fields import MAX_ROWS
from shared.wire.imports import Conflicts

if TYPE_CHECKING:
    import pandas as pd


class Flywheel(Connection):
    """A running pair of services."""

    # ------------------------------------------------------------ labels

    @staticmethod
    def fetch(
        source: str,
        folder: str | Path,
        *,
        config: str | None = None,
        split: str | None = None,
        image: str | None = None,
        label: str | None = None,
    ) -> Path:
        """Fetch a labeled dataset of the Hugging Face Hub into a new folder, for `launch` and `import_labels`.

        `source` is `hf://OWNER/NAME` or `hf://OWNER/NAME@REVISION`, or a folder with the same layout. `image` and
        `label` name columns. Needs `pip install flywheel-labeling[hub]`. Raises FlywheelError if the dataset cannot be
        loaded.
        """
        from commands.labels import hub

        try:
            hub.write(hub.load(source, config, split), Path(folder), image, label)
        except SettingsError as error:
            raise FlywheelError(str(error)) from None
        return Path(folder)

    def import_labels(
        self,
        labels: str | Path | Sequence[str | Path] | pd.DataFrame,
        *,
        images: str | Path = ".",
        dry_run: bool = False,
        add_classes: bool = False,
        conflicts: Conflicts = "keep",
        report: str | Path | None = None,
        columns: str | Mapping[str, str] | None = None,
        layout: str = "",
    ) -> dict[str, Any]:
        """Import labels from folders or files, as `flywheel import` reads them, or from a DataFrame with the same
        columns. In a detection project, a DataFrame has a row per box, with columns such as uri, label, x, y, w, h, or
        a row per image with a column `boxes` or `objects`.

        `layout` is the meaning of the folders, such as split/class; by default it is detected. `columns` names the
        columns if they have unusual names: {"image": "photo", "label": "species"}. File names in a DataFrame are
        relative to `images` or to the labeler's own folder.

        A row with a class that the project lacks is rejected unless `add_classes`. If an image has another answer
        already, `conflicts` decides: `keep` that answer, `overwrite` it, or `review` (the image is open until somebody
        decides).

        Returns counts: labels, known, images, held_out, conflict, kept, overwritten, reopened, rejected, and cell for
        optional cells that were left out. With `dry_run` nothing is written, and the counts say what an import would
        do. `issues` describes the first problems, `counted_as` lists names that were treated as another class, and
        `told` says how a table was read and which names were matched to files. The CSV `report` has every row. Raises
        FlywheelError if there are no labels.
        """
        from labeler.transfer.rows.imported import Chosen
        from labeler.transfer.rows.left_out import LeftOut
        from labeler.transfer.sources import Source, in_multilabel, open_sources

        told: list[Callable[[], list[str]]] = []

        def bring() -> Outcome:
            chosen = Chosen.of(columns) if columns else None
            task = task_of(self.labeler, self._token)
            if isinstance(labels, str | Path | Sequence):
                paths = [labels] if isinstance(labels, str | Path) else labels
                source = open_sources([*map(Path, paths)], chosen, layout, task=task)
            else:
                left, several = LeftOut(), task_named(task).by_class
                named = replace(chosen or Chosen(), several=several)
                reader = boxes_of_table if task_named(task).by_box else rows_of_table
                source = Source(Path(images), lambda: reader(labels, named, left), None, left.told)
                source = in_multilabel(source) if several else source
            told.append(source.told)
            table = None if report is None else Path(report)
            bringing = partial(send, self.labeler, source.rows(), source.folder, token=self._token)
            choices = partial(bringing, add_classes=add_classes, located=source.located)
            choices = partial(choices, vocabulary=source.vocabulary())
            return choices(dry_run=dry_run, report=table, conflicts=conflicts)

        outcome: Outcome = self._told(bring)
        said = [*(sentence for each in told for sentence in each()), *outcome.names]
        if not outcome.rows:
            raise FlywheelError(one_sentence("There is no label that can be imported", *said))
        issues = [str(each) for some in outcome.issues.values() for each in some]
        counts = {name: outcome.counts[name] for name in COUNTED}
        return counts | {"issues": issues, "counted_as": outcome.counted_as, "told": said}

    @staticmethod
    def merge(
        first: str | Path | pd.DataFrame, second: str | Path | pd.DataFrame, *, prefer: merging.Prefer = "neither"
    ) -> pd.DataFrame:
        """Merge two stopped workspaces, folders, files or DataFrames, as `flywheel merge` does.

        `prefer` decides if they differ: first, second, or neither (the image is then open after the import). Returns
        uri (relative to the working folder), split, label, annotator, status, labeled_at, and history, which is JSON
        with the answers if there are several. `import_labels` takes the result. Raises FlywheelError for rows that
        cannot be read.
        """
        import pandas as pd

        try:
            sides = [Path(side) if isinstance(side, str | Path) else rows_of_table(side) for side in (first, second)]
            images = merging.merged(sides[0], sides[1], Path.cwd())
            records = list(merging.records(images, merging.rule_named(prefer)))
        except SettingsError as error:
            raise FlywheelError(str(error)) from None
        table = pd.DataFrame(records, columns=merging.columns_of(images))
        table["history"] = table["history"].map(json.dumps, na_action="ignore")
        return table

    def labels(self, *, include: Sequence[str] = ("annotators",), **where: str) -> pd.DataFrame:
        """Every image with its label, split and status, by image id.

        `where` filters by split, label, annotator, status or snapshot. `include` may name annotators, predictions and
        history. Raises FlywheelError for an unknown filter or class.
        """
        import pandas as pd

        query = {"format": "parquet", "include": ",".join(include), **_known(where)}
        data = self._told(lambda: self._labeler.get("/api/export", params=query).raise_for_status().content)
        return pd.read_parquet(io.BytesIO(data)).set_index("id")

    def export(
        self, target: str | Path, format: str = "", *, include: Sequence[str] = ("annotators",), **where: str
    ) -> Path:
        """Write labels to a file in a format of `flywheel export`, by default the one of the file's ending.

        `include` and `where` are those of `labels`.
        """
        path, snapshot = Path(target), _known(where).pop("snapshot", None)
        named = format or self._told(lambda: format_of(path, 'format="{}"'))
        wanted = Wanted(named, ",".join(include), where, snapshot)
        self._told(lambda: download(self.labeler, wanted, path, self._token))
        return path

    def label(self, labels: Mapping[Any, Label], *, add_classes: bool = False) -> dict[str, tuple[str, str]]:
        """Label images: image id or file name → class. Spellings such as "coat" for "Coat" are one class.

        In a multi-label project, name a list of classes: the image has these, and none of the project's others. Or
        name {"yes": [...], "no": [...]}, which leaves the others unknown.

        In a detection project, name all boxes: a list of {"label": "dog", "x": 1, "y": 2, "w": 30, "h": 40}, in pixels
        of the upright image; an empty list if there is nothing in it.

        Raises FlywheelError and labels nothing if the project lacks a class (unless `add_classes`), or if a name
        matches no image or several. Returns one example of each kind of inexact file name, with the file that it
        matched.
        """
        images, matched = self._images([image for image in labels if isinstance(image, str)])
        self._name_classes((name for given in labels.values() for name in names_in(given)), add=add_classes)
        project = self._get("/api/project")
        answers = [
            {
                "id": str(uuid4()),
                "image_id": images[image] if isinstance(image, str) else int(image),
                **{"action": "label", "annotator": self.annotator, **answer_of(label, project)},
            }
            for image, label in labels.items()
        ]
        for start in range(0, len(answers), MAX_ROWS):
            batch = [each | {"session": self._session} for each in answers[start : start + MAX_ROWS]]
            self._post("/api/annotations", {"annotations": batch})
        return matched

    def next(self, count: int = 10, *, strategy: str | None = None) -> pd.DataFrame:
        """The images to label next, best first, by image id: uri, purpose, score, reason.

        They are leased to this client until it asks again. `strategy` changes the trainer's strategy: random,
        uncertainty, any of docs/guides/strategies.md.
        """
        import pandas as pd

        if strategy is not None:
            self._use(strategy)
        query = {"annotator": self.annotator, "session": self._session, "limit": count}
        items = self._get("/api/queue", params=query)["items"]
        columns = ["image_id", "purpose", "score", "reason"]
        asked = pd.DataFrame([{name: item[name] for name in columns} for item in items], columns=columns)
        return asked.set_index("image_id")

    def issues(self, limit: int = 100, *, timeout: float = 600.0) -> pd.DataFrame:
        """Doubtful labels, worst first, by image id: label, proposed, confidence, confident, agreeing, neighbours.

        The first call waits until the labels are judged. Raises FlywheelError if this takes longer than `timeout`
        seconds, or if there are too few labels.
        """
        import pandas as pd

        def judged() -> dict[str, Any] | None:
            query = {"limit": limit}
            answer: dict[str, Any] = self._trainer.get("/label-issues", params=query).raise_for_status().json()
            if answer["missing"]:
                raise FlywheelError(f"Labels can be judged after {many(answer['missing'], 'more label')} or more.")
            return answer if answer["judged"] else None

        found = self._wait(judged, "labels to be judged", timeout)
        columns = ["image_id", "label_name", "proposed_name", "confidence", "confident", "agreeing", "neighbours"]
        table = pd.DataFrame([{name: each[name] for name in columns} for each in found["issues"]], columns=columns)
        return table.set_index("image_id").rename(columns={"label_name": "label", "proposed_name": "proposed"})

    # ------------------------------------------------------------ versions

    def snapshot(self, name: str) -> None:
        """Save the current labels and splits under a name."""
        self._post("/api/snapshots", {"name": name, "annotator": self.annotator})

    def snapshots(self) -> pd.DataFrame:
        """All snapshots, oldest first, by name: seq (row of the log), annotator, at."""
        import pandas as pd

        found = self._get("/api/snapshots")["snapshots"]
        return pd.DataFrame(found, columns=["name", "seq", "annotator", "at"]).set_index("name")

    def diff(self, name: str, other: str | None = None, *, limit: int = 10_000) -> pd.DataFrame:
        """What differs between a snapshot and another one or the current state, by image id: label and split before and
        after.
        """
        import pandas as pd

        query = {"limit": limit} | ({"to": other} if other else {})
        found = self._get(f"/api/snapshots/{quote(name, safe='')}/diff", params=query)["differences"]
        columns = ["image_id", "label_before", "label_after", "split_before", "split_after"]
        rows = [(each["image_id"], *each["label"], *each["split"]) for each in found]
        return pd.DataFrame(rows, columns=columns).set_index("image_id")

    def restore(self, name: str) -> dict[str, int]:
        """Restore the labels and splits of a snapshot."""
        done: dict[str, int] = self._post(
            f"/api/snapshots/{quote(name, safe='')}/restore", {"annotator": self.annotator}
        )
        return done

    def split(
        self,
        test: float,
        validation: float = 0.0,
        *,
        by: str = "image",
        groups: Mapping[int, str] | None = None,
        seed: int = 0,
    ) -> dict[str, int]:
        """Draw new splits by image, class, folder or group; returns the number of images in each.

        With by="group", `groups` maps image id → group, and images of one group stay together.
        """
        body: dict[str, Any] = {"test": test, "validation": validation, "by": by, "seed": seed}
        body |= {"annotator": self.annotator, "groups": {str(k): str(v) for k, v in (groups or {}).items()}}
        drawn: dict[str, int] = draw(lambda part: self._post("/api/splits", part), body)["splits"]
        return drawn

    # ------------------------------------------------------------ the model

    def train(self, timeout: float = 600.0) -> dict[str, Any]:
        """Wait until the model has learned from every label; returns the trainer's status.

        Raises FlywheelError if this takes longer than `timeout` seconds.
        """
        self._told(lambda: self._trainer.post("/resume").raise_for_status())
        project = self._get("/api/project")

        def learned() -> dict[str, Any] | None:
            status: dict[str, Any] = self._trainer.get("/status").raise_for_status().json()
            wanted = project["splits"]["train"]["labeled"] - status["embedding"]["problems"]
            done = status["log_id"] == project["log_id"] and status["acked_seq"] >= project["last_seq"]
            return status if done and status["model_version"] and status["labels"] >= wanted else None

        status: dict[str, Any] = self._wait(learned, "the model to learn all labels (of at least two classes)", timeout)
        return status

    def evaluations(self) -> pd.DataFrame:
        """The curve: labels, accuracy with its 95 % interval (of boxes `map_50`), test images, … Oldest first."""
        import pandas as pd

        rows = [
            {
                "labels": each["labels"],
                "accuracy": each["accuracy"]["value"],
                **{end: each["accuracy"][end] for end in ("low", "high")},
                "test_images": each["accuracy"]["n"],
                "macro_f1": each["macro_f1"],
                **{metric: each[metric]["value"] for metric in BOX_METRICS if each.get(metric)},
                "model_version": each["model_version"],
            }
            for each in self._get("/api/progress")["evaluations"]
        ]
        boxes = [metric for metric in BOX_METRICS if any(metric in row for row in rows)]
        columns = ["labels", "accuracy", "low", "high", "test_images", "macro_f1", "model_version", *boxes]
        return pd.DataFrame(rows, columns=columns)

    def predict(self, image_ids: Sequence[int]) -> pd.DataFrame:
        """Class and confidence of images of the project, by image id."""
        import pandas as pd

        ids = [int(image) for image in image_ids]
        answer = self._told(lambda: self._trainer.post("/predict", json={"image_ids": ids}).raise_for_status().json())
        rows = [{name: each[name] for name in ("label", "confidence")} for each in answer["predictions"]]
        return pd.DataFrame(rows, index=pd.Index(ids, name="image_id"), columns=["label", "confidence"])

    def dataloaders(self, images: str | Path, *, size: int = 224, batch_size: int = 64, seed: int = 0) -> Any:
        """fastai `DataLoaders` with the labeled images in `images`: train, and validation (or a fifth of train).

        Test images are left out. Needs `pip install flywheel-labeling[fine-tune]`.
        """
        from fastai.vision.all import ImageDataLoaders, Resize

        table = self.labels(status="labeled")
        table = table[table["split"] != "test"]
        given: dict[str, Any] = {"valid_pct": 0.2, "seed": seed}
        if (table["split"] == "validation").any():
            table["held"] = table["split"] == "validation"
            given = {"valid_col": "held"}
        return ImageDataLoaders.from_df(
            table, path=Path(images), fn_col="uri", label_col="label", item_tfms=Resize(size), bs=batch_size, **given
        )

    # ------------------------------------------------------------ inside

    def _images(self, names: Sequence[str]) -> tuple[dict[str, int], dict[str, tuple[str, str]]]:
        """The image id of each name; see `label`."""
        images: dict[str, int] = {}
        matched: dict[str, tuple[str, str]] = {}
        for some in parts(names, text_length, most=MAX_ROWS):
            found = self._post("/api/images/named", {"names": some})
            for name, reason in found["unclear"].items():
                raise FlywheelError(f"{name} {reason}.")
            images |= found["images"]
            matched = {how: (name, file) for how, (name, file) in found["matched_as"].items()} | matched
        return images, matched

    def _name_classes(self, names: Iterable[str], *, add: bool) -> None:
        """Make sure that the project has these classes, before anything is written."""
        classes = self._get("/api/project")["classes"]
        unknown = lacking(names, classes)
        if unknown and not add:
            like = meant(unknown[0], [each["name"] for each in classes])
            raise FlywheelError(f"There is no class {unknown[0]!r}: add it with add_classes=True{like or '.'}")
        for name in unknown:
            self._post("/api/classes", {"name": name, "annotator": self.annotator})

    def _use(self, strategy: str) -> None:
        settings = self._told(lambda: self._trainer.get("/settings").raise_for_status().json())
        if settings["query_strategy"]["value"] == strategy:
            return
        before = self._get("/api/project")["query_version"]
        body = {"query_strategy": strategy}
        self._told(lambda: self._trainer.patch("/settings", json=body).raise_for_status())
        if not self._get("/api/project")["splits"]["train"]["unlabeled"]:
            return  # there is nothing to rank
        self._wait(lambda: self._get("/api/project")["query_version"] > before, "a list of the new strategy", 120)


def _known(where: dict[str, str]) -> dict[str, str]:
    """The filters, checked. An unknown filter raises FlywheelError, because it would select every image."""
    unknown = sorted(set(where) - {*FILTERS, "snapshot"})
    if unknown:
        raise FlywheelError(f"Images are chosen by {', '.join(FILTERS)} or snapshot, not by {unknown[0]!r}.")
    return where
