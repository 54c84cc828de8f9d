"""What hosts that read signatures see: the real arguments of a tool, in ``func``, ``_run`` and ``_arun``.

Such a host takes the arguments from the signature or from the type hints, and calls what it read: CrewAI and AutoGen
call ``func``, google-adk calls ``_run``. The arguments follow the options of each tool, so no signature in the source
can name them.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final

from langchain_core.runnables import RunnableConfig

_MANAGER: Final = "run_manager"


@lru_cache(maxsize=128)
def parameters_of(schema: Any) -> tuple[inspect.Parameter, ...]:
    """The fields of ``schema`` as parameters."""
    return tuple(
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=inspect.Parameter.empty if field.is_required() else field.get_default(call_default_factory=True),
            annotation=Any if field.annotation is None else field.annotation,
        )
        for name, field in schema.model_fields.items()
    )


def show_arguments(function: Callable[..., Any], schema: Any, **hidden: Any) -> None:
    """Give ``function`` the signature of ``schema``.

    Args:
        function: a function without ``self``.
        schema: the arguments.
        hidden: annotations of further arguments, which only a reader of type hints finds.
    """
    shown = parameters_of(schema)
    function.__signature__ = inspect.Signature(shown)  # type: ignore[attr-defined]
    function.__annotations__ = {each.name: each.annotation for each in shown} | hidden


def show_entry(function: Callable[..., Any], schema: Any, manager: Any) -> None:
    """The same for ``_run`` and ``_arun``, to which LangChain also passes the run and its configuration.

    LangChain finds ``run_manager`` in the signature and the configuration in the type hints. The latter is in these
    alone, because google-adk would offer it to the model.
    """
    show_arguments(function, schema, config=RunnableConfig)
    run_manager = inspect.Parameter(_MANAGER, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=manager)
    function.__signature__ = inspect.Signature([*parameters_of(schema), run_manager])  # type: ignore[attr-defined]
    function.__annotations__[_MANAGER] = manager
