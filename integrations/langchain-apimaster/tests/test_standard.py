"""LangChain's own standard tests, for all four tools."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from langchain_tests.integration_tests import ToolsIntegrationTests
from langchain_tests.unit_tests import ToolsUnitTests

from langchain_apimaster import (
    APIMasterEditImageTool,
    APIMasterGenerateImageTool,
    APIMasterImageTaskTool,
    APIMasterSubmitImageTool,
)

pytestmark = pytest.mark.anyio


class Unit(ToolsUnitTests):
    """With sockets off: a tool can be made, described and validated without a network."""

    @pytest.fixture(autouse=True)
    def _no_network(self, socket_disabled: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))

    @property
    def tool_constructor_params(self) -> dict[str, Any]:
        return {"api_key": "sk-made-up"}

    @property
    def init_from_env_params(self) -> tuple[dict[str, str], dict[str, Any], dict[str, Any]]:
        return {"APIMASTER_API_KEY": "sk-from-environment"}, {}, {"api_key": "sk-from-environment"}


class Integration(ToolsIntegrationTests):
    """Against the emulator."""

    @pytest.fixture(autouse=True)
    def _emulated(self, emu: Any, tmp_path: Path) -> None:
        self._options = {"api_key": emu.api_key, "base_url": emu.base_url, "store": tmp_path}
        self._emulator = emu

    @property
    def tool_constructor_params(self) -> dict[str, Any]:
        return dict(self._options)


GENERATE = {"prompt": "An orange cat at sunset", "aspect_ratio": "16:9", "resolution": "0.5K"}
SUBMIT = {"prompt": "An orange cat at sunset"}
TASK = {"task_id": "task_01K8SGYNNNVBQTXNR4MM964S7K"}
EDIT = {"prompt": "Make the cat blue", "reference_images": ["https://example.com/cat.png"]}


class TestGenerateUnit(Unit):
    tool_constructor = APIMasterGenerateImageTool
    tool_invoke_params_example = GENERATE


class TestGenerateIntegration(Integration):
    tool_constructor = APIMasterGenerateImageTool
    tool_invoke_params_example = GENERATE


class TestEditUnit(Unit):
    tool_constructor = APIMasterEditImageTool
    tool_invoke_params_example = EDIT


class TestEditIntegration(Integration):
    tool_constructor = APIMasterEditImageTool
    tool_invoke_params_example = EDIT


class TestSubmitUnit(Unit):
    tool_constructor = APIMasterSubmitImageTool
    tool_invoke_params_example = SUBMIT


class TestSubmitIntegration(Integration):
    tool_constructor = APIMasterSubmitImageTool
    tool_invoke_params_example = SUBMIT


class TestTaskUnit(Unit):
    tool_constructor = APIMasterImageTaskTool
    tool_invoke_params_example = TASK


class TestTaskIntegration(Integration):
    tool_constructor = APIMasterImageTaskTool

    @property
    def tool_invoke_params_example(self) -> dict[str, Any]:
        if not self._emulator.jobs:
            submit = APIMasterSubmitImageTool(**self._options)
            submit.invoke("An orange cat at sunset")
        return {"task_id": self._emulator.jobs[0].id}
