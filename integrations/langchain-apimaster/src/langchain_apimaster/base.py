"""From LangChain to the flows and back: what all four tools have in common.

A tool parses nothing and sends nothing itself. ``run`` notes who is calling, ``_run`` and ``_arun`` hand the same flow
to the two drivers of ``steps``, and what comes out becomes content for the model and an artifact for the application.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Annotated, Any, ClassVar, Literal

from langchain_core.callbacks import AsyncCallbackManagerForToolRun, CallbackManagerForToolRun
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool, InjectedToolArg
from pydantic import ConfigDict, PrivateAttr
from typing_extensions import Self

from apimaster import APIMasterError

from . import messages, previews, steps
from .booking import Delivered
from .calling import Call, call_of, called
from .options import NOT_PICKLED, Options
from .progress import note_run
from .schema import Arguments, explain_validation
from .studio import Studio


class ImageTool(Options, BaseTool):
    """The base of the tools. Options are those of ``APIMasterToolkit``; by itself, a tool has a budget of its own."""

    # Said again: the other base class would ignore what it does not know, and a misspelt option with it.
    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid", defer_build=True)

    response_format: Literal["content", "content_and_artifact"] = "content_and_artifact"
    handle_tool_error: Any = True
    handle_validation_error: Any = explain_validation

    _studio: Studio = PrivateAttr()
    _first: ClassVar[str] = "prompt"

    def __init__(self, *, studio: Studio | None = None, **options: Any) -> None:
        super().__init__(**options)
        self._studio = Studio(self) if studio is None else studio
        if self.args_schema is None:
            self.args_schema = self._schema()

    @property
    def studio(self) -> Studio:
        """What this tool shares with the others of its toolkit: ``studio.budget``, ``studio.store``."""
        return self._studio

    def _schema(self) -> type[Arguments]:
        raise NotImplementedError

    def _flow(self, call: Call, arguments: dict[str, Any]) -> steps.Flow[Delivered]:
        raise NotImplementedError

    def run(self, tool_input: str | dict[str, Any], *args: Any, tool_call_id: str | None = None, **kwargs: Any) -> Any:
        """See ``BaseTool.run``."""
        with called(tool_input, tool_call_id) as bare:
            return super().run(bare, *args, tool_call_id=tool_call_id, **kwargs)

    async def arun(
        self, tool_input: str | dict[str, Any], *args: Any, tool_call_id: str | None = None, **kwargs: Any
    ) -> Any:
        """See ``BaseTool.arun``."""
        with called(tool_input, tool_call_id) as bare:
            return await super().arun(bare, *args, tool_call_id=tool_call_id, **kwargs)

    def _run(
        self,
        only: str | None = None,
        *,
        config: RunnableConfig,
        run_manager: CallbackManagerForToolRun | None = None,
        **arguments: Any,
    ) -> tuple[Any, dict[str, Any]]:
        return steps.run(self._answer(only, arguments, config, run_manager), self._studio)

    async def _arun(
        self,
        only: str | None = None,
        *,
        config: RunnableConfig,
        run_manager: AsyncCallbackManagerForToolRun | None = None,
        **arguments: Any,
    ) -> tuple[Any, dict[str, Any]]:
        return await steps.arun(self._answer(only, arguments, config, run_manager), self._studio)

    def _answer(
        self, only: str | None, arguments: dict[str, Any], config: RunnableConfig | None, run_manager: Any
    ) -> steps.Flow[tuple[Any, dict[str, Any]]]:
        if only is not None:
            arguments = {self._first: only}
        model = self._studio.model
        try:
            delivered = yield from self._flow(call_of(self.name, config, run_manager), arguments)
        except APIMasterError as error:
            known = [task.id for task in error.tasks if task.id]
            note_run(run_manager, _facts(model, None, known) | {"apimaster_billed": error.billed})
            raise messages.ImageToolError(error) from error
        note_run(run_manager, _facts(delivered.model, delivered.cost, delivered.tasks))
        return (yield from self._shown(delivered))

    def _shown(self, delivered: Delivered) -> steps.Flow[tuple[Any, dict[str, Any]]]:
        task = delivered.going_on
        facts = messages.artifact(
            delivered.images,
            model=delivered.model,
            cost=delivered.cost,
            tasks=delivered.tasks,
            failures=delivered.failures,
            status="succeeded" if task is None else task.status,
        )
        if task is not None:
            return messages.describe_task(task), facts
        text = messages.describe(delivered.images, delivered.failures)
        if not self._studio.shows_images:
            return text, facts
        store = self._studio.store
        blocks = yield steps.Disk(lambda: [previews.block(store.content(image)) for image in delivered.images])
        return [{"type": "text", "text": text}, *blocks], facts

    @property
    def func(self) -> Callable[..., Any]:
        """The tool as a plain function: arguments in, content out.

        LangGraph reads from its signature that the runtime is wanted, and AutoGen calls it.
        """

        def function(*, runtime: Annotated[Any, InjectedToolArg] = None, **arguments: Any) -> Any:
            return self.run(arguments if runtime is None else {**arguments, "runtime": runtime})

        schema = self.get_input_schema()
        function.__name__ = self.name
        function.__signature__ = inspect.signature(schema)  # type: ignore[attr-defined]  # what people are shown
        return function

    @property
    def args(self) -> dict[str, Any]:
        """The arguments as JSON schemas, in a copy: smolagents writes into what it gets.

        It also takes every argument to be required that is not ``nullable``; and null does mean the default here.
        """
        schema = self.get_input_jsonschema()
        required = schema.get("required", ())
        return {
            name: dict(about) if name in required else {**about, "nullable": True}
            for name, about in schema["properties"].items()
        }

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """A copy that shares clients, store and budget, unless ``update`` changes an option: then it has its own."""
        copied: Self = super().model_copy(update=update, deep=deep)
        if update and not set(Options.model_fields).isdisjoint(update):
            copied._studio = Studio(copied)
            copied.args_schema = copied._schema()
        return copied

    def __getstate__(self) -> dict[Any, Any]:
        """Without the key, without connections: the environment of the other process has its own."""
        state = dict(super().__getstate__())
        state["__dict__"] = {**state["__dict__"], "args_schema": None, **dict.fromkeys(NOT_PICKLED)}
        return state

    def __setstate__(self, state: dict[Any, Any]) -> None:
        super().__setstate__(state)
        self.args_schema = self._schema()

    @property
    def lc_secrets(self) -> dict[str, str]:
        """Where LangChain finds the key when a tool is loaded from a description of it."""
        return {"api_key": "APIMASTER_API_KEY"}


def _facts(model: str, cost: Any, tasks: Any) -> dict[str, Any]:
    return {
        "apimaster_model": model,
        "apimaster_cost_usd": None if cost is None else str(cost),
        "apimaster_task_ids": list(tasks),
    }
