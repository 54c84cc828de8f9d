"""What a ledger tells: purchases, budgets, and what settling found out."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

from pydantic import BaseModel, ConfigDict, TypeAdapter

from ..errors import APIMasterError, Billed
from ..request import ImageRequest, read_stored
from ..results import GeneratedImage, ImageFailure, Task
from .rows import BudgetRow, Row
from .states import PurchaseState


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", defer_build=True)


class Purchase(_Frozen):
    """One image that somebody asked for: what became of it, and what it cost.

    Attributes:
        key: the idempotency key.
        index: the image's position in its call, from 0; with ``key`` it names the purchase.
        state: ``planned``, ``claimed``, ``submitting``, ``submitted``, ``delivered``, ``saved``, ``failed`` or
            ``unknown``.
        task: the gateway's task, once there is one.
        request: what was asked for. If the ledger stores no prompts, the prompt is a digest, ``sha256:…``.
        cost: US dollars, exact: the true charge where settling has read it, else the list price; zero if nothing was
            charged, None if the price is not known.
        billed: ``"no"``, ``"maybe"`` or ``"yes"``.
        images: the pictures, once they are delivered.
        error: why it failed, or why nobody knows what became of it.
        budget: the budget that it counts against.
        attempts: how often somebody began to buy it.
        joins: how often a later call got this picture instead of buying one.
        earlier_tasks: the ids of tasks of earlier attempts.
        created_at, submitted_at, updated_at: unix seconds by the ledger's clock; ``submitted_at`` is when the request
            went out, or None.
    """

    key: str
    index: int = 0
    state: PurchaseState
    task: Task | None = None
    request: ImageRequest
    cost: Decimal | None = None
    billed: Billed = "no"
    images: tuple[GeneratedImage, ...] = ()
    error: ImageFailure | None = None
    budget: str | None = None
    attempts: int = 0
    joins: int = 0
    earlier_tasks: tuple[str, ...] = ()
    created_at: float = 0.0
    submitted_at: float | None = None
    updated_at: float = 0.0


class Budget(_Frozen):
    """A limit that many processes share, and what counts against it.

    Attributes:
        name: its name.
        max_usd: US dollars in all; None: no limit.
        max_images: images in all; None: no limit.
        usd: dollars that are charged, or may be.
        images: images that are charged, or may be.
    """

    name: str
    max_usd: Decimal | None = None
    max_images: int | None = None
    usd: Decimal = Decimal(0)
    images: int = 0

    @property
    def left(self) -> Decimal | None:
        """US dollars that are left; None if there is no limit in dollars."""
        return None if self.max_usd is None else self.max_usd - self.usd


class Settlement(_Frozen):
    """What ``client.settle`` found out about purchases that nobody knew the outcome of.

    Attributes:
        recovered: they were charged, and their pictures or tasks are found.
        not_charged: they were not charged: the same key may buy again.
        still_unknown: nothing is proven yet; ``error`` of each says why.
        note: why nothing was looked up, if the usage log could not be read; empty otherwise.
        left_out: why the log was not asked about a key, or about purchases of other accounts: a sentence for each.
    """

    recovered: tuple[Purchase, ...] = ()
    not_charged: tuple[Purchase, ...] = ()
    still_unknown: tuple[Purchase, ...] = ()
    note: str = ""
    left_out: tuple[str, ...] = ()


_IMAGES: TypeAdapter[tuple[GeneratedImage, ...]] = TypeAdapter(
    tuple[GeneratedImage, ...], config=ConfigDict(defer_build=True)
)


def images_json(images: tuple[GeneratedImage, ...]) -> str:
    """Pictures as a row stores them: paths are absolute, and a picture that came inside a reply has no bytes."""
    placed = tuple(
        image.model_copy(update={"path": _writable(image.path.absolute())}) if isinstance(image.path, Path) else image
        for image in images
    )
    return _IMAGES.dump_json(placed, exclude_defaults=True).decode()


def _writable(path: Path) -> Path | None:
    """The path, or None if its bytes are no text: a row can't hold it, and the picture is bought already."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return None
    return path


def images_of(row: Row) -> tuple[GeneratedImage, ...]:
    """The pictures in a row."""
    if row.images is None:
        return ()
    return tuple(
        image.model_copy(update={"path": Path(image.path)})
        if isinstance(image.path, str) and "://" not in image.path
        else image
        for image in _IMAGES.validate_json(row.images)
    )


def task_json(task: Task) -> str:
    """A task as a row stores it: without its request, which has a column of its own, and without its pictures."""
    return task.model_dump_json(exclude={"request", "images"}, exclude_none=True)


def task_of(row: Row, request: ImageRequest | None = None) -> Task | None:
    """The task in a row, with its request."""
    if row.task is None:
        return None
    task = Task.model_validate_json(row.task)
    return task.model_copy(update={"request": request})


def failure_of(row: Row) -> ImageFailure | None:
    """The error in a row."""
    return None if row.error is None else ImageFailure.model_validate_json(row.error)


def failure_json(error: APIMasterError, *, prompts: bool) -> str:
    """An error as a row stores it. A gateway may quote the prompt in its reason, so that goes where prompts go."""
    failure = ImageFailure.of(0, error)
    if not prompts:
        failure = failure.model_copy(update={"message": failure.error})
    return failure.model_dump_json(exclude={"task"}, exclude_none=True)


def purchase_from(row: Row) -> Purchase:
    """The purchase in a row. The ledger wrote the row, so only what is JSON in it is checked again."""
    request = read_stored(row.request)
    cost = row.cost if row.counted()[1] else Decimal(0)
    return Purchase.model_construct(
        key=row.key,
        index=row.index,
        state=row.state,
        task=task_of(row, request),
        request=request,
        cost=cost,
        billed=row.billed,
        images=images_of(row),
        error=failure_of(row),
        budget=row.budget,
        attempts=row.attempts,
        joins=row.joins,
        earlier_tasks=tuple(row.earlier_tasks.split()),
        created_at=row.created_at,
        submitted_at=row.begun_at,
        updated_at=row.updated_at,
    )


def budget_from(row: BudgetRow) -> Budget:
    """The budget in a row."""
    return Budget(name=row.name, max_usd=row.max_usd, max_images=row.max_images, usd=row.usd, images=row.images)
