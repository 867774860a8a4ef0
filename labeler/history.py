"""Which classes were given when: the log's labels in stretches of equal length, counted by the database.

An image counts once, as its last answer says: a correction moves it, and the sum is the number of labels. What was
taken back since, and what was brought along instead of given here, is left out.
"""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime

from sqlalchemy import and_, func, not_, or_, select

from labeler.annotation_log import AnnotationLog
from labeler.database import Store
from labeler.tables import LOG
from shared.log import ANSWERS, IMPORT
from shared.messages import Stretch
from shared.review import REVIEW

MOST = 40  # stretches


def label_history(store: Store, log: AnnotationLog) -> list[Stretch]:
    """At most `MOST` stretches of the log that hold labels, oldest first; classes go by their names of now."""
    with store.lock:
        last_seq = log.last_seq
        resolve, classes = log.fold.resolve, log.fold.classes
    width = max(1, -(-last_seq // MOST))
    stretch = ((LOG.c.seq - 1) // width).label("stretch")
    undone = select(LOG.c.target).where(LOG.c.action == "undo", LOG.c.target.is_not(None))
    unsure = and_(LOG.c.action == "skip", LOG.c.source == REVIEW)  # which leaves the label as it was
    latest = (
        select(func.max(LOG.c.seq))
        .where(LOG.c.action.in_([*ANSWERS, "settle"]), LOG.c.seq <= last_seq, LOG.c.id.not_in(undone))
        .where(or_(LOG.c.source.is_(None), and_(LOG.c.source != IMPORT, not_(unsure))))
        .group_by(LOG.c.image_id)
    )
    statement = (
        select(stretch, LOG.c.label, func.count(), func.max(LOG.c.created_at))
        .where(LOG.c.seq.in_(latest), LOG.c.label.is_not(None))
        .group_by(stretch, LOG.c.label)
        .order_by(stretch)
    )
    counts: defaultdict[int, defaultdict[str, int]] = defaultdict(lambda: defaultdict(int))
    until: dict[int, datetime] = {}
    with store.read() as connection:
        for number, label, count, at in connection.execute(statement):
            live = resolve(label)
            if live is not None:
                counts[number][classes[live].name] += count
                until[number] = max(until.get(number, at), at)
    given, stretches = 0, []
    for number, per_class in counts.items():
        given += sum(per_class.values())
        stretches.append(Stretch(labels=given, until=until[number], classes=dict(per_class)))
    return stretches
