"""Unknown purchases, and charges of the gateway's usage log: what several tests of settling share."""

from __future__ import annotations

from decimal import Decimal

from apimaster.account import Charge
from apimaster.ledger.rows import Row

MODEL = "gemini-3.1-flash-image-preview"
PRICE = Decimal("0.0375")


def unknown(key: str = "lost", prompt: str = "a castle", *, begun: float = 9000.0, **changes: object) -> Row:
    request = f'{{"prompt": "{prompt}", "model": "{MODEL}"}}'
    known: dict[str, object] = {"digest": f"digest of {prompt}", "state": "unknown", "price": PRICE, "account": "own"}
    times = {"begun_at": begun, "unknown_since": begun + 5}
    return Row(key, 0, request=request, **{**known, **times, **changes})  # type: ignore[arg-type]


def charge(
    task: str | None = "task-1", prompt: str | None = "a castle", *, at: int = 9001, **changes: object
) -> Charge:
    fields: dict[str, object] = {"kind": "charge", "model": MODEL, "cost": PRICE, "task_id": task, "prompt": prompt}
    return Charge(at=at, **{**fields, **changes})  # type: ignore[arg-type]


WITNESS = Row("witness", 0, "d", "{}", state="saved", task_id="known", price=PRICE, account="own", begun_at=9100.0)
WITNESS_CHARGE = charge("known", "something else", at=9100)
