"""The four tools: what each offers to a model, and which flow it starts."""

from __future__ import annotations

from typing import Any, ClassVar

from apimaster import ReferenceImageError

from .base import ImageTool
from .booking import Delivered
from .calling import Call
from .collecting import checked_task, collect
from .orders import Wish, buy, hand_in
from .schema import Arguments, arguments_of, task_arguments
from .steps import Flow
from .studio import Studio


class _Asking:
    """What the three tools that ask for pictures have in common. A plain class: each pydantic one slows the import."""

    name: str
    _studio: Studio
    _must_refer: ClassVar[bool] = False
    _with_n: ClassVar[bool] = True

    def _schema(self) -> type[Arguments]:
        return arguments_of(
            "".join(part.capitalize() for part in self.name.split("_")),
            self._studio.choices,
            with_n=self._with_n,
            must_refer=self._must_refer,
            has_folders=self._studio.has_folders,
        )

    def _wish(self, arguments: dict[str, Any]) -> Wish:
        choices = self._studio.choices

        def chosen(name: str) -> Any:
            return arguments.get(name, choices.default(name))

        words = tuple(arguments.get("reference_images") or ())
        given = () if words else tuple(choices.default("reference_images"))
        if self._must_refer and not words and not given:
            raise ReferenceImageError(
                f"{self.name} needs at least one reference image",
                advice=(
                    "Name an earlier picture (img_…), an image the user attached (attachment:1), or a public https URL."
                ),
            )
        count = chosen("n") if self._with_n else 1
        fields = {
            name: choices.on_the_wire(name, chosen(name)) for name in ("aspect_ratio", "resolution", "google_search")
        }
        return Wish(
            arguments=arguments,
            fields={"prompt": arguments["prompt"], "model": self._studio.model, "n": count, **fields},
            references=words,
            given=given,
        )


class APIMasterGenerateImageTool(_Asking, ImageTool):
    """``generate_image``: pictures from a prompt, and reference images if the model wants some.

    Content for the model: an id, pixels and cost per picture. Artifact for the application: where the pictures are.

    Example:
        ``APIMasterGenerateImageTool(store="pictures").invoke("An orange cat at sunset, watercolour")``
    """

    name: str = "generate_image"
    description: str = (
        "Make a new picture from a description. Returns the id of the picture (img_…), by which it can be changed or "
        "used as a reference later. Each picture costs money: make as many as the user asked for and no more."
    )

    def _flow(self, call: Call, arguments: dict[str, Any]) -> Flow[Delivered]:
        return (yield from buy(self._studio, call, self._wish(arguments)))


class APIMasterEditImageTool(_Asking, ImageTool):
    """``edit_image``: the same with at least one reference image."""

    name: str = "edit_image"
    description: str = (
        "Change an existing picture, or make a new one out of several: earlier pictures by id (img_…), images that the "
        "user attached (attachment:1), or public https URLs. Returns the id of a new picture; the old ones stay as "
        "they are. Each picture costs money."
    )
    _must_refer: ClassVar[bool] = True

    def _flow(self, call: Call, arguments: dict[str, Any]) -> Flow[Delivered]:
        return (yield from buy(self._studio, call, self._wish(arguments)))


class APIMasterSubmitImageTool(_Asking, ImageTool):
    """``submit_image``: start a picture and come back at once with its task."""

    name: str = "submit_image"
    description: str = (
        "Start making a picture and return at once with the id of its task, without waiting. Use it to start several "
        "pictures before collecting each with get_image. It is paid for when it is started."
    )
    _with_n: ClassVar[bool] = False

    def _flow(self, call: Call, arguments: dict[str, Any]) -> Flow[Delivered]:
        return (yield from hand_in(self._studio, call, self._wish(arguments)))


class APIMasterImageTaskTool(ImageTool):
    """``get_image``: look at a task, or wait for it and keep its picture. Both are free."""

    name: str = "get_image"
    description: str = (
        "Get the picture of a task that submit_image started, or that another tool could not wait for. Costs nothing; "
        "calling it twice for a task gives the same picture."
    )
    _first: ClassVar[str] = "task_id"

    def _schema(self) -> type[Arguments]:
        return task_arguments()

    def _flow(self, call: Call, arguments: dict[str, Any]) -> Flow[Delivered]:
        task = checked_task(arguments[self._first])
        return (yield from collect(self._studio, call, task, wait=arguments.get("wait", True)))
