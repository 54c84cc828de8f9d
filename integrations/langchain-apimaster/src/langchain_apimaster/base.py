"""The base of the four tools: from LangChain to the flows and back.

A tool sends nothing itself. ``run`` notes the caller, ``_run`` and ``_arun`` pass the same flow to the two drivers, and
the flow's result becomes content for the model and an artifact for the application. A failure leaves LangChain as an
error, so that the run counts as failed in traces; ``run`` turns it into the text for the model afterwards.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from functools import partial
from typing import Annotated, Any, ClassVar, Literal

from langchain_core.callbacks import AsyncCallbackManagerForToolRun, BaseRunManager, CallbackManagerForToolRun
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool, InjectedToolArg, ToolException
from pydantic import PrivateAttr, ValidationError
from typing_extensions import Self

from apimaster import APIMasterError

from . import driver, failures, messages
from .call import Call, current_call, in_run, note_caller
from .context import ToolContext
from .driver import Flow, RunBlocking
from .options import CONFIG, Options
from .previews import preview_or_reason
from .progress import add_run_metadata
from .results import ToolResult
from .schema import Arguments, explain_validation
from .signatures import show_arguments, show_entry


class ImageTool(Options, BaseTool):
    """The base of the tools. It takes the options of ``APIMasterToolkit``; a tool made by itself has its own budget."""

    # Repeated here, because the other base class would ignore unknown options, and so a misspelt one.
    model_config = CONFIG

    response_format: Literal["content", "content_and_artifact"] = "content_and_artifact"
    handle_tool_error: Any = True
    handle_validation_error: Any = explain_validation

    _context: ToolContext = PrivateAttr()
    _main_argument: ClassVar[str] = "prompt"

    def __init__(
        self, *, context: ToolContext | None = None, studio: ToolContext | None = None, **options: Any
    ) -> None:
        super().__init__(**options)
        self._context = context or studio or ToolContext(self, self.name)
        if self.args_schema is None:
            self.args_schema = self._schema()

    @property
    def context(self) -> ToolContext:
        """What this tool shares with the others of its toolkit: ``context.budget``, ``context.store``."""
        return self._context

    @property
    def studio(self) -> ToolContext:
        """The former name of ``context``."""
        return self._context

    def _schema(self) -> type[Arguments]:
        raise NotImplementedError

    def _flow(self, call: Call, arguments: dict[str, Any]) -> Flow[ToolResult]:
        raise NotImplementedError

    def run(
        self,
        tool_input: str | dict[str, Any],
        *args: Any,
        tool_call_id: str | None = None,
        in_batch: bool = False,
        **kwargs: Any,
    ) -> Any:
        """See ``BaseTool.run``."""
        with note_caller(tool_input, tool_call_id) as bare:
            try:
                return super(ImageTool, self._raising()).run(bare, *args, tool_call_id=tool_call_id, **kwargs)
            except (ToolException, ValidationError) as error:
                return failures.answer(self, error, tool_call_id, in_batch=in_batch)

    async def arun(
        self,
        tool_input: str | dict[str, Any],
        *args: Any,
        tool_call_id: str | None = None,
        in_batch: bool = False,
        **kwargs: Any,
    ) -> Any:
        """See ``BaseTool.arun``."""
        with note_caller(tool_input, tool_call_id) as bare:
            try:
                return await super(ImageTool, self._raising()).arun(bare, *args, tool_call_id=tool_call_id, **kwargs)
            except (ToolException, ValidationError) as error:
                return failures.answer(self, error, tool_call_id, in_batch=in_batch)

    def _raising(self) -> Self:
        """This tool for one call, without what turns errors into text: LangChain reports such a run as a success."""
        made: Self = super().model_copy(update={"handle_tool_error": False, "handle_validation_error": False})
        return made

    def batch(self, inputs: Any, config: Any = None, *, return_exceptions: bool = False, **kwargs: Any) -> list[Any]:
        """The result of each input, in order. In a batch no model reads the text of an error, so it is raised.

        All inputs run to their end. Then the first error is raised; its ``results`` hold what the others brought. An
        input that is a tool call gets its ``ToolMessage`` all the same, and so does every input if the application
        has set ``handle_tool_error`` itself.

        Raises:
            ImageToolError: an input failed, and ``return_exceptions`` is false.
            ValidationError: the same, because its arguments were not accepted.
        """
        results = super().batch(inputs, config, return_exceptions=True, in_batch=True, **kwargs)
        return results if return_exceptions else failures.raise_first(results)

    async def abatch(
        self, inputs: Any, config: Any = None, *, return_exceptions: bool = False, **kwargs: Any
    ) -> list[Any]:
        """See ``batch``."""
        results = await super().abatch(inputs, config, return_exceptions=True, in_batch=True, **kwargs)
        return results if return_exceptions else failures.raise_first(results)

    def batch_as_completed(self, inputs: Any, config: Any = None, **kwargs: Any) -> Iterator[Any]:
        """Each result with its place, as soon as it is there. Errors are raised as ``batch`` does, but at once."""
        return super().batch_as_completed(inputs, config, in_batch=True, **kwargs)

    def abatch_as_completed(self, inputs: Any, config: Any = None, **kwargs: Any) -> AsyncIterator[Any]:
        """See ``batch_as_completed``."""
        return super().abatch_as_completed(inputs, config, in_batch=True, **kwargs)

    @property
    def _run(self) -> Callable[..., Any]:
        """What LangChain calls within a run. Called by anybody else, it is ``func``: google-adk calls it."""

        def _run(*given: Any, config: RunnableConfig | None = None, run_manager: Any = None, **arguments: Any) -> Any:
            if not (in_run() or isinstance(run_manager, BaseRunManager)):
                return self.run(self._named(given, arguments, run_manager=run_manager), config=config)
            response = self._respond(self._named(given, arguments), config, run_manager)
            return driver.run(response, self._context)

        show_entry(_run, self.get_input_schema(), CallbackManagerForToolRun | None)
        return _run

    @property
    def _arun(self) -> Callable[..., Coroutine[Any, Any, Any]]:
        """The same for asyncio."""

        async def _arun(
            *given: Any, config: RunnableConfig | None = None, run_manager: Any = None, **arguments: Any
        ) -> Any:
            if not (in_run() or isinstance(run_manager, BaseRunManager)):
                return await self.arun(self._named(given, arguments, run_manager=run_manager), config=config)
            response = self._respond(self._named(given, arguments), config, run_manager)
            return await driver.arun(response, self._context)

        show_entry(_arun, self.get_input_schema(), AsyncCallbackManagerForToolRun | None)
        return _arun

    def _named(self, given: tuple[Any, ...], arguments: dict[str, Any], **made_up: Any) -> dict[str, Any]:
        """All arguments by name: the main one may be given by position."""
        if len(given) > 1:
            raise TypeError("only the first argument may be given by position; give the others by name")
        # A model can name an argument as LangChain names its own; the schema refuses it.
        unknown = {name: value for name, value in made_up.items() if value is not None}
        return ({self._main_argument: given[0]} if given else {}) | arguments | unknown

    def _respond(
        self, arguments: dict[str, Any], config: RunnableConfig | None, run_manager: Any
    ) -> Flow[tuple[Any, dict[str, Any]]]:
        model = self._context.model
        call = current_call(self.name, config, run_manager)
        try:
            result = yield from self._flow(call, arguments)
        except APIMasterError as error:
            known = [task.id for task in error.tasks if task.id]
            add_run_metadata(run_manager, _run_metadata(model, None, known) | {"apimaster_billed": error.billed})
            raise messages.ImageToolError(error) from error
        facts = _run_metadata(result.model, result.cost, result.tasks)
        add_run_metadata(run_manager, facts | {"apimaster_replayed": result.replayed})
        return (yield from self._content_and_artifact(call, result))

    def _content_and_artifact(self, call: Call, result: ToolResult) -> Flow[tuple[Any, dict[str, Any]]]:
        task = result.unfinished
        artifact = messages.artifact(
            result.images,
            model=result.model,
            cost=result.cost,
            tasks=result.tasks,
            failures=result.failures,
            status="succeeded" if task is None else task.status,
            replayed=result.replayed,
        )
        if task is not None:
            return messages.describe_task(task, replayed=result.replayed, attachments=result.attachments), artifact
        text = messages.describe(
            result.images, result.failures, replayed=result.replayed, attachments=result.attachments
        )
        # Without the id of a tool call, LangChain returns the bare content. Adapters of other frameworks call tools so,
        # and write each block into the prompt as text, base64 included.
        if not self._context.shows_images or call.caller.call_id is None:
            return text, artifact
        store = self._context.store
        readers = [partial(store.content, image) for image in result.images]
        blocks = yield RunBlocking(lambda: [preview_or_reason(read) for read in readers])
        return [{"type": "text", "text": text}, *blocks], artifact

    @property
    def func(self) -> Callable[..., Any]:
        """The tool as a plain function: arguments in, content out.

        LangGraph reads its type hints to learn that the tool wants the runtime, and AutoGen and CrewAI call it.
        """

        def function(*given: Any, runtime: Any = None, **arguments: Any) -> Any:
            asked = self._named(given, arguments)
            return self.run(asked if runtime is None else {**asked, "runtime": runtime})

        function.__name__ = self.name
        show_arguments(function, self.get_input_schema(), runtime=Annotated[Any, InjectedToolArg])
        return function

    @property
    def args(self) -> dict[str, Any]:
        """The arguments as JSON schemas.

        This is a copy, because smolagents writes into it. Optional arguments are marked ``nullable``, because
        smolagents takes all others to be required; null means the default.
        """
        whole = self.get_input_jsonschema()
        required = whole.get("required", ())
        return {
            name: dict(schema) if name in required else {**schema, "nullable": True}
            for name, schema in whole["properties"].items()
        }

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """A copy. It shares clients, store, ledger and budget with this tool, unless ``update`` changes an option."""
        if update and "budget" in update:  # the option's name outside, which pydantic does not look at here
            update = {"budget_name" if name == "budget" else name: value for name, value in update.items()}
        made: Self = super().model_copy(update=update, deep=deep)
        if update and not set(Options.model_fields).isdisjoint(update):
            made._context = ToolContext(made, made.name)
            made.args_schema = made._schema()
        return made

    def __getstate__(self) -> dict[Any, Any]:
        """Without the key and without connections: the other process takes the key from its environment."""
        state = self.pickled(dict(super().__getstate__()))
        state["__dict__"]["args_schema"] = None
        return state

    def __setstate__(self, state: dict[Any, Any]) -> None:
        super().__setstate__(state)
        self.args_schema = self._schema()

    @property
    def lc_secrets(self) -> dict[str, str]:
        """The environment variable from which LangChain takes the key when it loads a serialized tool."""
        return {"api_key": "APIMASTER_API_KEY"}


def _run_metadata(model: str, cost: Any, tasks: Any) -> dict[str, Any]:
    return {
        "apimaster_model": model,
        "apimaster_cost_usd": None if cost is None else str(cost),
        "apimaster_task_ids": list(tasks),
    }
