"""Equal purchases that are lost at any moments, and a log that shows their charges late: read again and again."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st
from usage_log import WITNESS, WITNESS_CHARGE, charge, unknown

from apimaster.catalog import one_shot_limit
from apimaster.ledger.rows import Row
from apimaster.ledger.settling import settle_steps
from apimaster.ledger.usage_log import Log

SETTLE_AFTER = 60.0
START = 9000


@dataclass(frozen=True)
class Lost:
    """A purchase whose outcome nobody knows, and what really became of it: moments are seconds from the start."""

    began: int
    unknown_after: int
    one_shot: bool
    charged: int | None
    shows_after: int

    @property
    def ends(self) -> int:
        """When the gateway has charged it at the latest."""
        return self.began + self.unknown_after + (int(one_shot_limit(None)) if self.one_shot else 0)

    @property
    def charged_at(self) -> int:
        assert self.charged is not None
        return self.began + self.charged * (self.ends - self.began) // 100


LOST = st.builds(
    Lost,
    began=st.integers(0, 400),
    unknown_after=st.integers(0, 120),
    one_shot=st.booleans(),
    charged=st.none() | st.integers(0, 100),
    shows_after=st.integers(0, int(SETTLE_AFTER) - 1),
)


@given(st.lists(LOST, min_size=1, max_size=6), st.lists(st.integers(0, 1000), max_size=4))
def test_as_many_are_found_as_were_charged(lost: list[Lost], readings: list[int]) -> None:
    """Whichever of them gets which charge: nobody pays again for one that was charged, and none stays behind."""
    rows: dict[str, Row] = {}
    last = max(each.ends for each in lost) + int(SETTLE_AFTER) + 1
    for moment in [*sorted(readings), last, last]:
        for number, each in enumerate(lost):
            if each.began + each.unknown_after <= moment:
                began = float(START + each.began)
                new = unknown(
                    str(number), begun=began, unknown_since=began + each.unknown_after, one_shot=each.one_shot
                )
                rows.setdefault(str(number), new)
        shown = [
            charge(f"task-{number}", at=START + each.charged_at)
            for number, each in enumerate(lost)
            if each.charged is not None and each.charged_at + each.shows_after <= moment
        ]
        unknown_rows = [row for row in rows.values() if row.state == "unknown"]
        known = [WITNESS, *(row for row in rows.values() if row.state != "unknown")]
        on_their_way = [
            unknown(str(number), begun=float(START + each.began)).but(state="submitting")
            for number, each in enumerate(lost)
            if each.began <= moment < each.began + each.unknown_after
        ]
        log = Log([*shown, WITNESS_CHARGE], known, float(START + moment), SETTLE_AFTER, 0.0, on_their_way)
        for step in settle_steps(unknown_rows, log):
            if step.state is not None:
                rows[step.key] = rows[step.key].but(state=step.state, task_id=step.task_id)
        absent = sum(row.state == "failed" for row in rows.values())
        assert absent <= sum(each.charged is None for each in lost), "one that was charged is bought again"
    tasks = sorted(row.task_id for row in rows.values() if row.task_id is not None)
    assert len(tasks) == len(set(tasks)), "a picture is given away twice"
    settled_all = all(row.state != "unknown" for row in rows.values())
    assert settled_all
    assert tasks == [f"task-{number}" for number, each in enumerate(lost) if each.charged is not None]
