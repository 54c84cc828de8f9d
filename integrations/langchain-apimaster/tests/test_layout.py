"""The package only maps: it has no HTTP, no clock and no field name of the wire. Its public names are pinned."""

from __future__ import annotations

import ast
from pathlib import Path

import langchain_apimaster

SOURCE = Path(langchain_apimaster.__file__).parent
FORBIDDEN = {"httpx", "httpcore", "requests", "aiohttp", "urllib.request", "socket", "ssl", "time"}
WIRE = {"image_urls", "task_id", "google_image_search", "client_reference_id", "size", "data"}


def test_no_http_no_clock_no_wire() -> None:
    for path in SOURCE.rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            names: set[str | None] = set()
            if isinstance(node, ast.Import):
                names = {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                names = {node.module}
            assert not names & FORBIDDEN, path.name
            if isinstance(node, ast.Dict):
                keys = {key.value for key in node.keys if isinstance(key, ast.Constant)}
                assert not keys & WIRE, path.name
            assert not (isinstance(node, ast.Attribute) and node.attr == "sleep"), path.name


def test_public_names() -> None:
    assert langchain_apimaster.__all__ == sorted(langchain_apimaster.__all__)
    assert set(langchain_apimaster.__all__) == {
        "APIMasterEditImageTool",
        "APIMasterGenerateImageTool",
        "APIMasterImageTaskTool",
        "APIMasterSubmitImageTool",
        "APIMasterToolkit",
        "Budget",
        "ImageToolError",
        "StoredImage",
    }
    assert (SOURCE / "py.typed").exists()
