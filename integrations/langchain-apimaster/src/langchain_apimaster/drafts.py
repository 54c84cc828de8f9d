"""What a model asked for, and the request that becomes of it before anything is bought."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from apimaster import ImageRequest
from apimaster.adapters import check_references
from apimaster.ledger.digest import request_digests

if TYPE_CHECKING:
    from .call import Call
    from .context import ToolContext


@dataclass(frozen=True, slots=True)
class RequestDraft:
    """What the model asked for, completed with the application's settings; its references are not resolved yet.

    Attributes:
        arguments: as the model gave them: by them older versions recognized a replay of the call.
        fields: of the ``ImageRequest``, without references.
        model_references: references as the model named them; ``ReferenceResolver`` decides what it may name.
        own_references: references that the application set, taken as they are.
        model_mask: a mask as the model named it, by the same rules as a reference.
        equals: where in its message the calls stand that ask for the same, this one included.
    """

    arguments: dict[str, Any]
    fields: dict[str, Any]
    model_references: tuple[str, ...] = ()
    own_references: tuple[Any, ...] = ()
    model_mask: str | None = None
    equals: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class CompleteRequest:
    """A request that is complete.

    Attributes:
        request: with its references.
        digests: of everything that it asks for (``digests_of``).
        attachments: those among the references, by their numbers.
    """

    request: ImageRequest
    digests: tuple[str, ...]
    attachments: tuple[str, ...]


def complete(context: ToolContext, call: Call, draft: RequestDraft) -> CompleteRequest:
    """The request with its references. Blocks.

    It is one step, because each step costs an event loop a trip to a thread.
    """
    context.ledger.get()
    context.budget.make()
    context.attachments.see(call)
    resolver = context.reference_resolver(call)
    references: Sequence[Any] = draft.own_references
    if draft.model_references:
        references = resolver.resolve(draft.model_references)
    mask = resolver.resolve([draft.model_mask])[0] if draft.model_mask else None
    request = ImageRequest(**draft.fields, references=references, mask=mask)
    context.policy.check(request)
    spec = request.spec
    checked = check_references(
        request.references,
        max_count=spec.max_references,
        max_bytes=spec.max_reference_bytes,
        model=spec.id,
        mask=request.mask,
    )
    return CompleteRequest(request, digests_of(request, checked), tuple(resolver.used))


def asked(draft: RequestDraft) -> tuple[str, tuple[str, ...], str | None]:
    """What a draft asks for, with its pictures as they are named, to compare it with another draft of the same tool.

    Raises:
        BadRequestError: no model accepts it.
    """
    return digests_of(ImageRequest(**draft.fields))[0], draft.model_references, draft.model_mask


def digests_of(request: ImageRequest, references: Sequence[Any] = ()) -> tuple[str, ...]:
    """The digest of a request by the preferred id of its model, and then those by the model's other ids.

    So a call is the same call whichever id of the model the application names. Blocks if there are references.
    """
    return request_digests(request.model_copy(update={"model": request.spec.id}), references)
