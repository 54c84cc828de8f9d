"""The four tools: what each says to the model, and which flow it starts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from apimaster import ReferenceImageError

from . import drafts, flows
from .base import ImageTool
from .call import Call
from .context import ToolContext
from .driver import Flow
from .results import ToolResult
from .schema import MASK, Arguments, request_arguments, task_arguments


class _RequestsImages:
    """What the three tools that request images share. A plain class, because each pydantic class slows the import."""

    name: str
    _context: ToolContext
    _needs_references: ClassVar[bool] = False
    _with_n: ClassVar[bool] = True
    if TYPE_CHECKING:
        args_schema: Any  # pydantic would take this for the field's type

    def _schema(self) -> type[Arguments]:
        return request_arguments(
            "".join(part.capitalize() for part in self.name.split("_")),
            self._context.policy,
            with_n=self._with_n,
            needs_references=self._needs_references,
            has_folders=self._context.has_folders,
        )

    def _flow(self, call: Call, arguments: dict[str, Any]) -> Flow[ToolResult]:
        return (yield from flows.generate(self._context, call, self._draft_in(call, arguments)))

    def _draft_in(self, call: Call, arguments: dict[str, Any]) -> drafts.RequestDraft:
        """The draft, with its place in the message where that counts: under a key of the application's."""
        draft = self._draft(arguments)
        if call.idempotency_key is None or len(call.message_calls) < 2:
            return draft
        asked = drafts.asked(draft)
        calls = enumerate(call.message_calls)
        equals = [at for at, each in calls if each.get("name") == self.name and self._asked_by(each) == asked]
        return replace(draft, equals=tuple(equals))

    def _asked_by(self, call: Mapping[str, Any]) -> object:
        """What another call of the message asks for, or None if its arguments will be refused."""
        try:
            arguments = self.args_schema.model_validate(call.get("args")).model_dump()
            return drafts.asked(self._draft(arguments))
        except ValueError:
            return None

    def _draft(self, arguments: dict[str, Any]) -> drafts.RequestDraft:
        policy = self._context.policy

        def value(name: str) -> Any:
            return arguments.get(name, policy.default(name))

        model_references = tuple(arguments.get("reference_images") or ())
        own_references = () if model_references else tuple(policy.default("reference_images"))
        if self._needs_references and not model_references and not own_references:
            raise ReferenceImageError(
                f"{self.name} needs at least one reference image",
                advice=(
                    "Name an earlier picture (img_…), an image the user attached (attachment:1), or a public https URL."
                ),
            )
        count = value("n") if self._with_n else 1
        fields = {
            name: policy.request_value(name, value(name)) for name in ("aspect_ratio", "resolution", "google_search")
        }
        mask = arguments.get(MASK) or None
        return drafts.RequestDraft(
            # Earlier versions knew no mask, and find their calls by their arguments.
            arguments={name: of for name, of in arguments.items() if name != MASK or mask is not None},
            fields={"prompt": arguments["prompt"], "model": self._context.model, "n": count, **fields},
            model_references=model_references,
            own_references=own_references,
            model_mask=mask,
        )


class APIMasterGenerateImageTool(_RequestsImages, ImageTool):
    """``generate_image``: pictures from a prompt, and from reference images if the model names some.

    The content, for the model, has the id, pixels and cost of each picture. The artifact, for the application, also
    says where the pictures are.

    Example:
        ``APIMasterGenerateImageTool(store="pictures").invoke("An orange cat at sunset, watercolour")``
    """

    name: str = "generate_image"
    description: str = (
        "Make a new picture from a description. Returns the id of the picture (img_…), by which it can be changed or "
        "used as a reference later. Each picture costs money: make as many as the user asked for and no more."
    )


class APIMasterEditImageTool(_RequestsImages, ImageTool):
    """``edit_image``: the same with at least one reference image."""

    name: str = "edit_image"
    description: str = (
        "Change an existing picture, or make a new one out of several: earlier pictures by id (img_…), images that the "
        "user attached (attachment:1), or public https URLs. Returns the id of a new picture; the old ones stay as "
        "they are. Each picture costs money."
    )
    _needs_references: ClassVar[bool] = True


class APIMasterSubmitImageTool(_RequestsImages, ImageTool):
    """``submit_image``: start a picture and return its task at once."""

    name: str = "submit_image"
    description: str = (
        "Start making a picture and return at once with the id of its task, without waiting. Use it to start several "
        "pictures before collecting each with get_image. It is paid for when it is started."
    )
    _with_n: ClassVar[bool] = False

    def _flow(self, call: Call, arguments: dict[str, Any]) -> Flow[ToolResult]:
        return (yield from flows.submit(self._context, call, self._draft_in(call, arguments)))


class APIMasterImageTaskTool(ImageTool):
    """``get_image``: poll a task, or wait for it and save its picture. Both are free."""

    name: str = "get_image"
    description: str = (
        "Get the picture of a task that submit_image started, or that another tool could not wait for. Costs nothing; "
        "calling it twice for a task gives the same picture."
    )
    _main_argument: ClassVar[str] = "task_id"

    def _schema(self) -> type[Arguments]:
        return task_arguments()

    def _flow(self, call: Call, arguments: dict[str, Any]) -> Flow[ToolResult]:
        task_id = flows.checked_task_id(arguments[self._main_argument])
        return (yield from flows.collect(self._context, call, task_id, wait=arguments.get("wait", True)))
