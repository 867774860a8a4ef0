"""Images: the catalogue, names, uploads, and the pages that show many at once."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BeforeValidator, ConfigDict, Field

from shared.wire.fields import MAX_ROWS, Id, Message, Reply, Split, Status


class ImageEntry(Reply):
    """One image of the catalogue, as of its last change."""

    id: int
    uri: str
    sha256: str
    split: Split
    removed: bool


class ImagePage(Reply):
    """`GET /api/images`: entries in order of change; continue with `after=next`."""

    images: list[ImageEntry]
    next: int
    catalog_version: int
    log_id: UUID | None = None  # of the project that the images belong to


class SimilarImage(Reply):
    """A labeled image that is similar to the one in question."""

    image_id: int
    url: str  # of its thumbnail
    label: int | None  # None in a multi-label project, unless it has one class
    name: str  # name of the class, or names of all classes
    answer: Any = None  # in tasks other than classification
    similarity: float  # cosine


class SimilarImages(Reply):
    """`GET /api/images/{id}/similar`: most similar first; empty while the trainer cannot answer."""

    images: list[SimilarImage]


class NamesPost(Message):
    """`POST /api/images/named`: file names as a table or script has them."""

    names: list[Annotated[str, Field(min_length=1, max_length=4_096)]] = Field(max_length=MAX_ROWS)


class NamedImages(Reply):
    """The image for each name, and why some names have none. `matched` counts names that differ from the file's name,
    by kind of difference; `matched_as` has the first example of each, with its file.
    """

    images: dict[str, int] = Field(default_factory=dict)
    unclear: dict[str, str] = Field(default_factory=dict)
    matched: dict[str, int] = Field(default_factory=dict)
    matched_as: dict[str, tuple[str, str]] = Field(default_factory=dict)


class ImagePost(Message):
    """`POST /api/images`."""

    uris: list[str] = Field(max_length=100_000)


class Rejection(Reply):
    """An image that was refused, with the reason in words."""

    uri: str
    reason: str


class ImageReceipt(Reply):
    """The result of posting images."""

    added: int
    duplicates: int
    rejected: list[Rejection]
    duplicate_uris: list[str] = Field(default_factory=list)  # as posted


class ScanView(Reply):
    """How complete the catalogue of the image folder is."""

    running: bool
    done: int
    total: int | None
    seconds_left: float | None
    error: str | None = None
    left_out: list[str] = Field(default_factory=list)  # sentences about what was skipped in the image folders


MAX_LISTED = 100_000
"""Maximum images in one listing of the grid, and points on one map."""
MAX_TILES = 500
"""Maximum images whose tiles are requested at once."""
MAX_GROUPS = 500


Drawn = Literal["pca", "umap"]
"""Layouts of a map."""


class PoolPredictions(Reply):
    """`GET /predictions`: the most probable class of every embedded image, and its probability."""

    model_version: str
    image_ids: list[int]
    labels: list[int]  # class ids
    confidences: list[float]


class Layout(Reply):
    """The layout of a map."""

    layout: Drawn = "pca"  # the layout returned; the requested one may be
    computing: bool = False  # still in progress,
    progress: float | None = None  # 0 … 1, if known
    seconds_left: float | None = None
    problem: str | None = None  # or have failed, for this reason
    layouts: tuple[Drawn, ...] = ("pca",)  # the layouts that can be requested


class PoolMap(Layout):
    """`GET /map`: positions (−1 … 1) of the pool's images, or of a random sample of the `total`."""

    total: int
    image_ids: list[int]
    x: list[float]
    y: list[float]


class Neighbour(Reply):
    """An image and its cosine similarity to the image in question."""

    image_id: int
    similarity: float


class Neighbours(Reply):
    """`GET /similar`: most similar first."""

    image_id: int
    similar: list[Neighbour]


class Described(Reply):
    """`GET /described`: the images that match a description in words best, best first."""

    words: str
    images: list[Neighbour]


class Group(Reply):
    """A cluster of `size` images; `image_ids` are the most typical ones, most typical first."""

    cluster: int
    size: int
    image_ids: list[int]


class Groups(Reply):
    """`GET /clusters`: largest first. Clusters keep their numbers until the pool changes."""

    clusters: list[Group]


def _split(given: Any) -> list[str]:
    """Parse query parameters: `images=3,17&images=4` is a list of three."""
    texts = given if isinstance(given, list | tuple) else [given]
    parts = [part.strip() for text in texts for part in str(text).split(",") if part.strip()]
    if not all(part.isdecimal() for part in parts):
        raise ValueError("give image ids like 3,17,4")
    return parts


Ids = Annotated[list[Id], BeforeValidator(_split)]


class View(Message):
    """The filters of the grid. An image must match all of them. Also the query parameters of `GET /api/grid` and of the
    page.
    """

    model_config = ConfigDict(strict=False)  # query parameters are text

    status: Status | Literal["any"] | None = None  # None: depends on the other filters
    label: Id | None = None  # class id of the label
    says: Literal["yes", "no", "nothing"] = (
        "yes"  # multi-label: whether the image's label says yes or no to the class `label`
    )
    predicted: Id | None = None  # class id of the prediction
    min_confidence: float = Field(default=0.0, ge=0, le=1)
    max_confidence: float = Field(default=1.0, ge=0, le=1)
    similar_to: Id | None = None  # image id
    words: str | None = Field(default=None, min_length=1, max_length=200)  # best match first; needs a text network
    cluster: Id | None = None  # number of a cluster, from 0, of
    clusters: int = Field(default=20, ge=1, le=MAX_GROUPS)
    images: Annotated[Ids | None, Field(max_length=MAX_ROWS)] = None  # only these, in this order
    search: str | None = Field(default=None, min_length=1, max_length=200)  # part of a file's name or folder
    by: Literal["confidence", "uncertainty"] | None = None  # most confident first, or least confident
    after: str | None = Field(default=None, max_length=100)  # `next` of the previous part
    limit: int = Field(default=MAX_LISTED, ge=1, le=MAX_LISTED)  # images in this part

    @property
    def shown_status(self) -> Status | Literal["any"]:
        """The status to show: by default unlabeled images, unless other filters imply another status."""
        if self.status is not None:
            return self.status
        if self.label is not None:
            return "any" if self.says == "nothing" else "labeled"
        return "unlabeled" if self.images is None and self.search is None else "any"

    @property
    def filters_predictions(self) -> bool:
        """Whether the filters use the model's predictions."""
        return self.predicted is not None or self.min_confidence > 0 or self.max_confidence < 1

    @property
    def order(self) -> Literal["confidence", "uncertainty"] | None:
        """Sort order by model confidence, or None for the order of similarity, cluster or list."""
        chosen = (self.similar_to, self.words, self.cluster, self.images)
        chosen_otherwise = any(each is not None for each in chosen)
        return self.by or ("confidence" if self.predicted is not None and not chosen_otherwise else None)

    @property
    def narrows(self) -> bool:
        """Whether there is any filter besides the status, so that the images are not simply those of the queue."""
        chosen = (self.similar_to, self.words, self.cluster, self.images, self.search, self.label)
        return any(each is not None for each in chosen) or self.needs_predictions

    @property
    def needs_predictions(self) -> bool:
        """Whether the filters need a model."""
        return self.filters_predictions or self.order is not None


class Listing(Reply):
    """`GET /api/grid`: which images, in order. The browser keeps this list, so that images stay in place while a person
    selects.
    """

    total: int
    image_ids: list[int]  # at most `limit`
    next: str | None = None  # start of the next part, to pass as `after`; None at the end
    status: Status | Literal["any"]  # the status shown
    model_version: str | None = None  # the model whose predictions were used


class Tile(Reply):
    """One image of the grid in its current state."""

    image_id: int
    url: str  # thumbnail; `&size=` changes its size
    name: str
    status: Status
    label: int | None
    answer: Any = None  # its label in tasks other than classification
    width: int | None = None  # detection: size of the upright original, in whose pixels boxes are given
    height: int | None = None
    predicted: int | None
    confidence: float | None
    held: bool  # on somebody else's screen
    settles: bool  # others have answered, so only `settle` changes the label


class Tiles(Reply):
    """`GET /api/grid/images`: those of the requested images that the grid may show, at `last_seq` of the log."""

    last_seq: int
    images: list[Tile]


class GroupView(Group):
    """A cluster as shown in the grid. `open` of its images have no answer."""

    open: int


class GroupViews(Reply):
    """`GET /api/clusters`."""

    clusters: list[GroupView]


SEVERAL = -1
"""In `Map.labels`: the image's label is not exactly one class."""


class Map(Layout):
    """`GET /api/map`: the pool's layout as columns with one entry per image. A class id of 0 means none.

    In a multi-label project `labels` has -1 for an image with several classes, or with none of them.
    """

    total: int
    image_ids: list[int]
    x: list[float]
    y: list[float]
    labels: list[int]
    predicted: list[int]
    confidences: list[float]
    next: list[int] = Field(
        default_factory=list
    )  # images that the queue asks about next: at most 100, and a tenth of all
    model_version: str | None = None
