"""The wire types of the pages that look at many images at once, grid and map.

What comes for every image of the pool comes as columns, lists of equal length, since a hundred thousand JSON objects
cost ten times as much. Only images of the train split are ever in them.
"""

from __future__ import annotations

from pydantic import Field

from shared.log import Status
from shared.messages import Reply

MAX_LISTED = 100_000
"""Images in one listing of the grid, and points on one map."""
MAX_TILES = 500
"""Images whose tiles are asked for at once."""
MAX_GROUPS = 500


# ---------------------------------------------------------------- trainer → labeler


class PoolPredictions(Reply):
    """`GET /predictions`: the likeliest class of every image that is embedded, and its probability."""

    model_version: str
    image_ids: list[int]
    labels: list[int]  # class ids
    confidences: list[float]


class PoolMap(Reply):
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


# ---------------------------------------------------------------- labeler → browser


class Listing(Reply):
    """`GET /api/grid`: which images, in order. The browser keeps it, so that nothing moves while someone chooses."""

    total: int
    image_ids: list[int]  # the first MAX_LISTED
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


class Map(Reply):
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
