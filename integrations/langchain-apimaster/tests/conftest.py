"""Fixtures: an emulator, toolkits that use it, and a chat model that follows a script."""

from __future__ import annotations

import base64
import contextlib
import io
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.tools import BaseTool
from PIL import Image
from pydantic import PrivateAttr
from quick_polls import poll_at_once

from apimaster import APIMasterError
from langchain_apimaster import APIMasterToolkit

if TYPE_CHECKING:
    from apimaster.emulator import Emulator

Turn = AIMessage | Callable[[list[BaseMessage]], AIMessage]


class ScriptedModel(BaseChatModel):
    """Answers with the next turn of its script; a turn may be a function of the conversation so far."""

    script: list[Any]
    _conversations: list[list[BaseMessage]] = PrivateAttr(default_factory=list)

    @property
    def conversations(self) -> list[list[BaseMessage]]:
        """The conversation as the model got it, at each turn."""
        return self._conversations

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def bind_tools(self, tools: Sequence[Any], **kwargs: Any) -> Any:
        return self

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        turn = self.script[len(self._conversations)]
        self._conversations.append(list(messages))
        message = turn(messages) if callable(turn) else turn
        return ChatResult(generations=[ChatGeneration(message=message)])


def _calls(*calls: tuple[str, dict[str, Any], str]) -> AIMessage:
    return AIMessage("", tool_calls=[{"name": name, "args": args, "id": call_id} for name, args, call_id in calls])


@pytest.fixture(scope="session")
def calls() -> Callable[..., AIMessage]:
    """An AI message with tool calls ``(name, arguments, id)``."""
    return _calls


@pytest.fixture(scope="session")
def scripted() -> Callable[..., ScriptedModel]:
    """A chat model that answers with these turns."""
    return lambda *turns: ScriptedModel(script=list(turns))


@pytest.fixture(scope="session")
def tool_call() -> Callable[..., dict[str, Any]]:
    """A tool call as an agent passes it to ``tool.invoke``."""
    return lambda name, call_id="call_1", **args: {"type": "tool_call", "name": name, "args": args, "id": call_id}


@pytest.fixture(autouse=True)
def _own_data_folder(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test writes into the user's data folder, or uses the user's ledger."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path_factory.mktemp("data")))
    monkeypatch.delenv("APIMASTER_LEDGER", raising=False)


@pytest.fixture(autouse=True)
def _quick_polls(monkeypatch: pytest.MonkeyPatch) -> None:
    poll_at_once(monkeypatch)


@pytest.fixture
def emu() -> Iterator[Emulator]:
    from apimaster.emulator import Emulator

    with Emulator(pictures="plain") as emulator:
        yield emulator


@pytest.fixture
def make_toolkit(emu: Emulator, tmp_path: Path) -> Iterator[Callable[..., APIMasterToolkit]]:
    """Toolkits that use the emulator, with a store in the test's own folder unless the test names one."""
    made: list[APIMasterToolkit] = []

    def make(**options: Any) -> APIMasterToolkit:
        given = {"api_key": emu.api_key, "base_url": emu.base_url, "store": tmp_path / "store", **options}
        made.append(APIMasterToolkit(**given))
        return made[-1]

    yield make
    for toolkit in made:
        toolkit.close()
        with contextlib.suppress(APIMasterError):
            toolkit.open_ledger.close()  # each has a thread, which would live as long as this process


@pytest.fixture
def tools(make_toolkit: Callable[..., APIMasterToolkit]) -> Callable[..., dict[str, BaseTool]]:
    """The tools of a new toolkit by name."""
    return lambda **options: {tool.name: tool for tool in make_toolkit(**options).get_tools()}


@pytest.fixture
def png() -> bytes:
    """A small picture, such as a user might attach."""
    out = io.BytesIO()
    Image.new("RGB", (64, 48), "teal").save(out, format="PNG")
    return out.getvalue()


@pytest.fixture
def data_uri(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def last_result() -> Callable[[Sequence[BaseMessage]], ToolMessage]:
    """The newest tool message of a conversation."""
    return lambda messages: next(each for each in reversed(messages) if isinstance(each, ToolMessage))
