"""``ledger settle``: asks the gateway's usage log what became of unknown purchases."""

from __future__ import annotations

from collections.abc import Sequence

from ... import AsyncAPIMaster
from ...ledger import Ledger, Purchase, Settlement
from ..client_runner import Endpoint, run_with_client
from ..exit_codes import OK, UNKNOWN, USAGE
from ..printing import dollars, one_line, print_json, print_message, print_result
from ..resume import ResumeCommand
from .wording import no_purchase, purchase_name


def settle_and_print(
    ledger: Ledger, keys: Sequence[str], *, save_to: str | None, base_url: str | None, as_json: bool
) -> int:
    """Settle, print what was found out, and give the exit code: 7 if something is still unknown, else 2 if the ledger
    does not hold one of ``keys``.

    Raises:
        BadRequestError: the ledger holds none of ``keys``.
    """
    missing = [key for key in dict.fromkeys(keys) if next(ledger.purchases(key=key), None) is None]
    held = [key for key in keys if key not in missing]
    if missing and not held:
        raise no_purchase(*missing)

    async def work(client: AsyncAPIMaster) -> Settlement:
        return await client.settle(*held, save_to=save_to)

    endpoint = Endpoint(base_url=base_url, ledger=ledger)
    found = run_with_client(work, endpoint, resume=ResumeCommand(save_to or ".", base_url))
    if as_json:
        print_json(found.model_dump(mode="json"))
    else:
        for line in _lines(found):
            print_result(line)
    if found.note:
        print_message(f"The usage log told nothing: {one_line(found.note)}")
    for reason in found.left_out:
        print_message(one_line(reason))
    if missing:
        print_message(str(no_purchase(*missing)))
    return UNKNOWN if found.still_unknown else USAGE if missing else OK


def _lines(found: Settlement) -> list[str]:
    lines = [f"recovered      {purchase_name(each)}  {_outcome(each)}" for each in found.recovered]
    lines += [f"not charged    {purchase_name(each)}  the same key may buy again" for each in found.not_charged]
    lines += [f"still unknown  {purchase_name(each)}  {_reason(each)}" for each in found.still_unknown]
    return lines or ([] if found.left_out else ["Nothing is unknown."])


def _outcome(purchase: Purchase) -> str:
    places = [one_line(str(image.path or image.url)) for image in purchase.images if image.path or image.url]
    where = ", ".join(places) or (f"task {purchase.task.id}" if purchase.task is not None else purchase.state)
    reason = f", not here yet: {_reason(purchase)}" if purchase.state == "submitted" and purchase.error else ""
    return f"{where}  {dollars(purchase.cost)}{reason}"


def _reason(purchase: Purchase) -> str:
    return "" if purchase.error is None else one_line(purchase.error.message)
