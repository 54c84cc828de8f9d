"""The purchases of a probe: one picture by submit, one in one shot, one edit of an uploaded picture.

Each is sent once, whatever happens. Before it goes out, the transcript says so; as soon as there is a task, its id is
printed and written.

A picture may cost more than the list says, so before each purchase, and before its repeat at another resolution, the
probe takes the dearest of all prices that are known for it: the catalogue's, the gateway's public list with the highest
ratio of an account group, every published one, and what a picture of this probe has cost. What was bought counts by the
account's own figures, or by the usage log; if neither tells, at that dearest price.
"""

from __future__ import annotations

import contextlib
import secrets
import struct
import time
import zlib
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Final

from ...account import Charge
from ...catalog import Resolution, spellings
from ...emulator.transcript import Purchase
from ...errors import APIMasterError, DownloadError, InsufficientBalanceError, OutcomeUnknownError
from ...pricing import PriceList
from ...results import GeneratedImage, ImageResult, Progress, Task
from ..printing import dollars, print_message
from .free_calls import read_log
from .free_facts import offered
from .kept import TASK_ID
from .plan import ASPECT_RATIO, NEXT_RESOLUTION, PLAN, REFUSED, RESOLUTION, Plan
from .session import Session

_LOG_PAUSE: Final = 10.0
"""Seconds until the log is read a second time, if a purchase is not in it yet."""


class Shop:
    """Buys what a plan names, within its limit."""

    def __init__(self, session: Session, plan: Plan) -> None:
        self._session = session
        self._plan = plan
        self._model = session.file.transcript.model
        self._nonce = secrets.token_hex(4)
        self._used_before = self._used_now = self._used("account_before_purchases")
        self._listed = self._price_list()
        self._seen = Decimal(0)
        self._spent = Decimal(0)
        self._resolution: Resolution = RESOLUTION
        self.tasks: list[Task] = []
        """What is paid for and not here yet."""
        self.saved: list[str] = []
        """Paths of the pictures."""

    def buy_all(self) -> None:
        """Make the purchases one after the other.

        Raises:
            BadRequestError: the transcript can't be written.
        """
        if self._model not in offered(self._session.file.transcript):
            print_message(f"Nothing is bought: the gateway does not list {self._model}.")
            return
        for step in self._plan.steps:
            if self._session.file.failure is not None:
                raise self._session.file.failure
            if not self._affordable(step):
                break
            goes_on = self._buy(step)
            if self._half_k_refused(step):
                goes_on = self._affordable(step) and self._buy(step)
            self._count(step)
            if not goes_on:
                break
        charges = read_log(self._session)
        if not self._log_is_complete():
            print_message(f"… the log does not show every purchase yet; once more in {_LOG_PAUSE:g} s")
            time.sleep(_LOG_PAUSE)
            charges = read_log(self._session)
        self._look_for_the_unknown(charges)

    # --- money ----------------------------------------------------------------------------------------------

    def _used(self, step: str) -> Decimal | None:
        with self._session.step(step), contextlib.suppress(APIMasterError):
            return self._session.waiter.account().used
        return None

    def _price_list(self) -> PriceList | None:
        with self._session.step("price_list"), contextlib.suppress(APIMasterError):
            return self._session.waiter.price_list(model=self._model)
        return None

    def _may_cost(self) -> Decimal:
        """US dollars: the dearest price of the next picture that anything known tells."""
        listed = None
        if self._listed is not None and (found := self._listed.find(self._model, *spellings(self._model))) is not None:
            listed = found.price(self._resolution)
        if listed is not None and self._listed is not None:
            listed *= max([Decimal(1), *self._listed.group_ratios.values()])
        return self._plan.dearest(self._resolution, listed, self._seen)

    def _count(self, step: str) -> None:
        """Count a purchase that was or may have been charged, and learn its price."""
        bought = next((each for each in self._session.file.transcript.purchases if each.step == step), None)
        if bought is None or bought.state == "refused":
            return
        before, self._used_now = self._used_now, self._used(f"account_after_{step}")
        cost = None if before is None or self._used_now is None else self._used_now - before
        if cost is None:
            cost = self._logged(step)
        if cost is not None and (cost > 0 or (cost == 0 and bought.state == "failed")):
            self._seen = max(self._seen, cost)
        else:
            cost = self._may_cost()
        self._spent += cost

    def _logged(self, step: str) -> Decimal | None:
        """US dollars that the usage log says a step was charged; None if it does not tell."""
        found = [each.cost for each in self._charges_of(step, read_log(self._session))]
        return sum(found, Decimal(0)) if found else None

    def _charges_of(self, step: str, charges: Sequence[Charge]) -> list[Charge]:
        own = self._session.redactor.own_prompts
        return [each for each in charges if each.kind == "charge" and own.get(each.prompt or "") == step]

    def _affordable(self, step: str) -> bool:
        spent = self._spent
        if self._used_now is not None and self._used_before is not None:
            spent = max(spent, self._used_now - self._used_before)
        price = self._may_cost()
        expected = spent + price
        if expected <= self._plan.limit:
            return True
        print_message(
            f"{PLAN[step]}: not bought. At {self._resolution} it may cost {dollars(price)} here, so the sum could be "
            f"{dollars(expected)}, above the limit of {dollars(self._plan.limit)}."
        )
        return False

    def _log_is_complete(self) -> bool:
        log = self._session.file.transcript.last("log", "log")
        rows = log.body.get("data", []) if log is not None and isinstance(log.body, dict) else None
        if not isinstance(rows, list):
            return True  # there is no log to wait for
        seen = {row.get("<own>") for row in rows if isinstance(row, dict)}
        return seen >= {each.step for each in self._session.file.transcript.purchases if each.state == "delivered"}

    def _look_for_the_unknown(self, charges: Sequence[Charge]) -> None:
        """Say what the log knows of purchases whose outcome is unknown."""
        for purchase in self._session.file.transcript.purchases:
            if purchase.state != "unknown":
                continue
            found = self._charges_of(purchase.step, charges)
            if not found:
                print_message(f"{PLAN[purchase.step]}: the log shows no charge for it so far.")
            for charge in found:
                print_message(f"{PLAN[purchase.step]}: the log shows that it was charged, {dollars(charge.cost)}.")
                if charge.task_id:
                    self._note_task(purchase, Task(id=charge.task_id, model=self._model))

    def _half_k_refused(self, step: str) -> bool:
        """Whether the purchase may have been refused for its resolution, so that the next one may pass."""
        file = self._session.file
        answered = [each for each in file.transcript.exchanges if each.step == step and each.status == 400]
        refused = [each for each in file.transcript.purchases if each.step == step and each.state == "refused"]
        if not answered or not refused or self._resolution != RESOLUTION:
            return False
        self._resolution = NEXT_RESOLUTION
        file.rename(step, REFUSED)
        print_message(f"  {RESOLUTION} may be what was refused: once more at {NEXT_RESOLUTION}, at the same list price")
        return True

    # --- purchases ------------------------------------------------------------------------------------------

    def _buy(self, step: str) -> bool:
        """Whether to go on with the next purchase."""
        prompt = f"A small orange cat on a white background, flat colours (probe {self._nonce} {step})"
        references: Sequence[str] = ()
        if step == "edit":
            url = self._upload()
            if url is None:
                print_message(f"{PLAN[step]}: not bought, since the upload did not give a URL.")
                return False
            references = (url,)
        self._session.redactor.own_prompts[prompt] = step
        purchase = Purchase(step, str(self._plan.price), model=self._model)
        self._session.file.buy(purchase)
        with self._session.step(step, f"{PLAN[step]} ({dollars(self._plan.price)} by the list)"):
            if step == "one_shot":
                return self._carry_out(purchase, lambda: self._one_shot(purchase, prompt))
            return self._carry_out(purchase, lambda: self._by_submit(purchase, prompt, references))

    def _carry_out(self, purchase: Purchase, act: Callable[[], None]) -> bool:
        try:
            act()
        except APIMasterError as error:
            self._fail(purchase, error)
            return not isinstance(error, (OutcomeUnknownError, InsufficientBalanceError)) and error.billed != "maybe"
        finally:
            self._session.file.write()
        return True

    def _by_submit(self, purchase: Purchase, prompt: str, references: Sequence[str]) -> None:
        task = self._session.buyer.submit(
            prompt,
            model=self._model,
            aspect_ratio=ASPECT_RATIO,
            resolution=self._resolution,
            references=list(references),
        )
        self._note_task(purchase, task)
        result = self._session.waiter.wait(task, on_progress=self._reporter())
        self._keep(purchase, result)
        self._session.file.write()
        if purchase.step == "submit" and task.id:
            with self._session.step("output", "the durable output of the task"):
                self._session.raw("GET", f"/tasks/{task.id}/outputs/0/content")

    def _one_shot(self, purchase: Purchase, prompt: str) -> None:
        result = self._session.buyer.generate(
            prompt, model=self._model, aspect_ratio=ASPECT_RATIO, resolution=self._resolution, n=1, mode="sync"
        )
        self._keep(purchase, result)

    def _note_task(self, purchase: Purchase, task: Task) -> None:
        if not task.id:  # the submit was answered with the picture
            return
        self._session.redactor.own_tasks[task.id] = purchase.step
        self.tasks.append(task)
        purchase.state = "task"
        purchase.task_id = task.id if TASK_ID.fullmatch(task.id) else ""
        self._session.file.write()
        print_message(f"  paid for: task {task.id}; `apimaster task {task.id} --wait` picks it up")

    def _keep(self, purchase: Purchase, result: ImageResult) -> None:
        """Save the pictures; they are paid for, so a failed download is no failed purchase."""
        purchase.state = "delivered"
        folder = self._session.file.folder
        folder.mkdir(mode=0o700, exist_ok=True)
        for number, image in enumerate(result.images):
            self._save(image, f"{folder}/{purchase.step}{f'-{number + 1}' if number else ''}.png")
        self.tasks = [task for task in self.tasks if task.id not in {each.id for each in result.tasks}]

    def _save(self, image: GeneratedImage, path: str) -> None:
        try:
            saved = str(self._session.waiter.download(image, path))
        except DownloadError as error:
            print_message(f"  the picture can't be saved: {error.message} It is at {image.url or '(no URL)'}")
            return
        self.saved.append(saved)
        if image.url and not self._session.file.transcript.all("without_key"):
            with self._session.step("without_key"):  # the client sends the key to the gateway's own origin
                self._session.get_without_key(image.url)
        print_message(f"  saved: {saved}")

    def _fail(self, purchase: Purchase, error: APIMasterError) -> None:
        if error.billed == "maybe":
            purchase.state = "unknown"
        elif purchase.state == "task" and error.billed == "no":
            purchase.state = "failed"
            self.tasks = [task for task in self.tasks if task.id != purchase.task_id]
        elif error.billed == "no":
            purchase.state = "refused"
        if error.task is not None and error.task.id and purchase.state in ("sent", "unknown"):
            self._note_task(purchase, error.task)
        charge = {"maybe": "It may be charged, and is not repeated.", "no": "It was not charged."}.get(error.billed, "")
        print_message(f"  {error.message} {charge}")

    def _upload(self) -> str | None:
        try:
            with self._session.step("upload", "the upload of a small picture"):
                url = self._session.buyer.upload(small_picture())
        except APIMasterError as error:
            print_message(f"  {error.message}")
            return None
        with self._session.step("uploaded"):
            self._session.get_without_key(url)
        return url

    def _reporter(self) -> Callable[[Progress], None]:
        seen: set[str] = set()

        def report(progress: Progress) -> None:
            if progress.stage not in seen:
                seen.add(progress.stage)
                print_message(f"  {progress.elapsed:5.1f} s  {progress.stage}")

        return report


def small_picture() -> bytes:
    """A PNG of 256 × 256 pixels, drawn here: an orange disc on white."""
    side, radius = 256, 90
    rows = bytearray()
    for y in range(side):
        rows.append(0)  # no filter
        for x in range(side):
            inside = (x - side // 2) ** 2 + (y - side // 2) ** 2 < radius**2
            rows += b"\xf0\x80\x20" if inside else b"\xff\xff\xff"

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(rows))) + chunk(b"IEND", b"")
    )
