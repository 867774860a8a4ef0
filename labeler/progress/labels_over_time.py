"""Which classes were given when: the log's labels in periods of equal length, counted by the database.

Each image counts once, at its last answer: a correction moves it, and the sum is the number of labels. Undone and
imported answers are left out.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from datetime import datetime
from operator import itemgetter

from sqlalchemy import and_, func, not_, or_, select

from labeler.store.annotation_log import AnnotationLog
from labeler.store.database import Store
from labeler.store.tables import LOG
from shared.log import ANSWERS, IMPORT
from shared.tasks.task import Value
from shared.wire.evaluation import Stretch
from shared.wire.review import REVIEW

MOST = 40  # periods


def label_history(store: Store, log: AnnotationLog) -> list[Stretch]:
    """At most `MOST` periods of the log that contain labels, oldest first; classes have their current names."""
    with store.lock:
        last_seq = log.last_seq
    width = max(1, -(-last_seq // MOST))
    stretch = ((LOG.c.seq - 1) // width).label("stretch")
    undone = select(LOG.c.target).where(LOG.c.action == "undo", LOG.c.target.is_not(None))
    unsure = and_(LOG.c.action == "skip", LOG.c.source == REVIEW)  # such a skip leaves the label unchanged
    latest = (
        select(LOG.c.image_id, func.max(LOG.c.seq).label("seq"), func.count(LOG.c.annotator.distinct()).label("people"))
        .where(LOG.c.action.in_([*ANSWERS, "settle"]), LOG.c.seq <= last_seq, LOG.c.id.not_in(undone))
        .where(or_(LOG.c.source.is_(None), and_(LOG.c.source != IMPORT, not_(unsure))))
        .group_by(LOG.c.image_id)
        .subquery()
    )
    last = LOG.c.seq == latest.c.seq
    by_one = (
        select(stretch, LOG.c.label, func.count(), func.max(LOG.c.created_at))
        .join_from(latest, LOG, last)
        .where(latest.c.people == 1, LOG.c.label.is_not(None))
        .group_by(stretch, LOG.c.label)
    )
    by_image = (
        select(stretch, LOG.c.image_id, LOG.c.created_at)
        .join_from(latest, LOG, last)
        .where(or_(latest.c.people > 1, and_(LOG.c.label.is_(None), LOG.c.action.in_(["label", "settle"]))))
    )
    with store.read() as connection:
        rows = [tuple(row) for row in connection.execute(by_one)]
        singly = connection.execute(by_image).all()
    with store.lock:  # the fold combines several people's answers, and knows answers that are not a single class
        fold = log.fold
        rows += [(number, fold.labels.get(image_id), 1, at) for number, image_id, at in singly]
        names: dict[Value, list[str]] = {}
        for value in {value for _, value, _, _ in rows}:
            live = fold.live(value)
            if live is not None:
                names[value] = [*map(fold.name_of, fold.task.classes_in(live))]
    counts: defaultdict[int, defaultdict[str, int]] = defaultdict(lambda: defaultdict(int))
    images: Counter[int] = Counter()
    until: dict[int, datetime] = {}
    for number, value, count, at in sorted(rows, key=itemgetter(0)):
        if value not in names:
            continue
        images[number] += count
        until[number] = max(until.get(number, at), at)
        for name in names[value]:
            counts[number][name] += count
    given, stretches = 0, []
    for number in images:
        given += images[number]
        stretches.append(Stretch(labels=given, until=until[number], classes=dict(counts[number])))
    return stretches
