"""Images: the catalog, names, uploads, and the pages that show many at once."""

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
    """`GET /api/images`: entries in order of change; ask again with `after=next`."""

    images: list[ImageEntry]
    next: int
    catalog_version: int
    log_id: UUID | None = None  # of the project that the images belong to


class SimilarImage(Reply):
    """An image with a label, like another one that is asked about."""

    image_id: int
    url: str  # of its thumbnail
    label: int
    name: str  # of the class
    similarity: float  # cosine


class SimilarImages(Reply):
    """`GET /api/images/{id}/similar`: most similar first; none while the trainer cannot say."""

    images: list[SimilarImage]


class NamesPost(Message):
    """`POST /api/images/named`: names of files, as a table or script has them."""

    names: list[Annotated[str, Field(min_length=1, max_length=4_096)]] = Field(max_length=MAX_ROWS)


class NamedImages(Reply):
    """The image of each name, and why the others have none. `matched` counts names that are not as their file is
    called, by what differs, and `matched_as` has the first of each, with its file."""

    images: dict[str, int] = Field(default_factory=dict)
    unclear: dict[str, str] = Field(default_factory=dict)
    matched: dict[str, int] = Field(default_factory=dict)
    matched_as: dict[str, tuple[str, str]] = Field(default_factory=dict)


class ImagePost(Message):
    """`POST /api/images`."""

    uris: list[str] = Field(max_length=100_000)


class Rejection(Reply):
    """An image that could not be taken, and why, in words for a person."""

    uri: str
    reason: str


class ImageReceipt(Reply):
    """What became of the images posted."""

    added: int
    duplicates: int
    rejected: list[Rejection]
    duplicate_uris: list[str] = Field(default_factory=list)  # as they were posted


class ScanView(Reply):
    """How far the catalogue is with the image folder."""

    running: bool
    done: int
    total: int | None
    seconds_left: float | None
    error: str | None = None
    left_out: list[str] = Field(default_factory=list)  # of the image folders, in words


MAX_LISTED = 100_000
"""Images in one listing of the grid, and points on one map."""
MAX_TILES = 500
"""Images whose tiles are asked for at once."""
MAX_GROUPS = 500


Drawn = Literal["pca", "umap"]
"""How a map is laid out."""


class PoolPredictions(Reply):
    """`GET /predictions`: the likeliest class of every image that is embedded, and its probability."""

    model_version: str
    image_ids: list[int]
    labels: list[int]  # class ids
    confidences: list[float]


class Layout(Reply):
    """By what the images of a map are laid out."""

    layout: Drawn = "pca"  # what is shown, which need not be what was asked for:
    computing: bool = False  # that is being worked out:
    progress: float | None = None  # 0 … 1 of it, if that is known
    seconds_left: float | None = None
    problem: str | None = None  # or it failed
    layouts: tuple[Drawn, ...] = ("pca",)  # what may be asked for


class PoolMap(Layout):
    """`GET /map`: positions in −1 … 1 of the pool's images, or of a random sample of `total`."""

    total: int
    image_ids: list[int]
    x: list[float]
    y: list[float]


class Neighbour(Reply):
    """An image and its cosine similarity to the one that was asked about."""

    image_id: int
    similarity: float


class Neighbours(Reply):
    """`GET /similar`: most similar first."""

    image_id: int
    similar: list[Neighbour]


class Group(Reply):
    """A cluster of `size` images; `image_ids` are the most typical ones, the most typical first."""

    cluster: int
    size: int
    image_ids: list[int]


class Groups(Reply):
    """`GET /clusters`: the largest first. The numbers stay the same until the pool changes."""

    clusters: list[Group]


def _split(given: Any) -> list[str]:
    """Query parameters: `images=3,17&images=4` is a list of three."""
    texts = given if isinstance(given, list | tuple) else [given]
    parts = [part.strip() for text in texts for part in str(text).split(",") if part.strip()]
    if not all(part.isdecimal() for part in parts):
        raise ValueError("it is a list of image ids like 3,17,4")
    return parts


Ids = Annotated[list[Id], BeforeValidator(_split)]


class View(Message):
    """What the grid shows: all that is given must hold. The query parameters of `GET /api/grid` and of the page."""

    model_config = ConfigDict(strict=False)  # an address holds texts alone

    status: Status | Literal["any"] | None = None  # None: what fits the rest
    label: Id | None = None  # class id given
    predicted: Id | None = None  # class id that the model gives
    min_confidence: float = Field(default=0.0, ge=0, le=1)
    max_confidence: float = Field(default=1.0, ge=0, le=1)
    similar_to: Id | None = None  # image id
    cluster: Id | None = None  # number of a group, among so many:
    clusters: int = Field(default=20, ge=1, le=MAX_GROUPS)
    images: Annotated[Ids | None, Field(max_length=MAX_ROWS)] = None  # these alone, in this order
    search: str | None = Field(default=None, min_length=1, max_length=200)  # part of a file's name or folder
    by: Literal["confidence", "uncertainty"] | None = None  # the surest first, or the least sure

    @property
    def shown_status(self) -> Status | Literal["any"]:
        """Images to be labeled, unless something else is meant."""
        if self.status is not None:
            return self.status
        if self.label is not None:
            return "labeled"
        return "unlabeled" if self.images is None and self.search is None else "any"

    @property
    def filters_predictions(self) -> bool:
        """Whether the model's word decides which images these are."""
        return self.predicted is not None or self.min_confidence > 0 or self.max_confidence < 1

    @property
    def order(self) -> Literal["confidence", "uncertainty"] | None:
        """By the model's confidence, or None: by what chose the images."""
        chosen_otherwise = self.similar_to is not None or self.cluster is not None or self.images is not None
        return self.by or ("confidence" if self.predicted is not None and not chosen_otherwise else None)

    @property
    def needs_predictions(self) -> bool:
        """Whether there is nothing to show without a model."""
        return self.filters_predictions or self.order is not None


class Listing(Reply):
    """`GET /api/grid`: which images, in order. The browser keeps it, so that nothing moves while someone chooses."""

    total: int
    image_ids: list[int]  # the first MAX_LISTED
    status: Status | Literal["any"]  # that was meant
    model_version: str | None = None  # whose predictions chose or ordered them


class Tile(Reply):
    """One image of the grid as it is now."""

    image_id: int
    url: str  # of the thumbnail; `&size=` chooses another size
    name: str
    status: Status
    label: int | None
    predicted: int | None
    confidence: float | None
    held: bool  # on the screen of someone else
    settles: bool  # others have answered: only `settle` changes its label


class Tiles(Reply):
    """`GET /api/grid/images`: those asked for that the grid may show, as of `last_seq` of the log."""

    last_seq: int
    images: list[Tile]


class GroupView(Group):
    """A cluster as the grid lists it; `open` of its images nobody has answered."""

    open: int


class GroupViews(Reply):
    """`GET /api/clusters`."""

    clusters: list[GroupView]


class Map(Layout):
    """`GET /api/map`: the pool as it lies, one entry an image in each column; class ids are 0 where there is none."""

    total: int
    image_ids: list[int]
    x: list[float]
    y: list[float]
    labels: list[int]
    predicted: list[int]
    confidences: list[float]
    next: list[int] = Field(default_factory=list)  # images that the queue asks next
    model_version: str | None = None
