"""What keeps the house in order: who may import what, which names are public, and that both clients are one."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import apimaster
from apimaster import APIMaster, AsyncAPIMaster

PACKAGE = Path(apimaster.__file__).parent
REPOSITORY = Path(__file__).parent.parent

# Parts that stand on the core and do as they must: programs, and the gateway's double.
APPLICATIONS = ("cli", "emulator", "batch")
# The only modules of the core that touch the network, a clock or sleep.
OUTSIDE = {"drivers.py", "async_driver.py", "transport"}
# wiring.py turns operations into httpx requests without sending them; the clients name a type of httpx.
NAMES_HTTPX = {"wiring.py", "client.py", "async_client.py"}
IO_MODULES = {"socket", "ssl", "select", "selectors", "http", "urllib.request", "asyncio", "anyio", "time", "requests"}
NETWORK = {"httpx", "httpcore", "aiohttp", "httpx_aiohttp"}
HARMLESS = {
    "body.py": {"asyncio"},  # an asynchronous body reads its files in threads
    "storage.py": {"urllib.request"},  # for its reading of file: URLs
    "webhooks.py": {"time"},  # the age of a delivery, where the caller does not hand in the time
}
PURE = {
    "catalog.py", "errors.py", "exchange.py", "flows.py", "operations.py", "outcomes.py", "pacing.py", "polling.py",
    "request.py", "results.py", "retry.py", "schedule.py", "durations.py", "sizes.py", "wire.py", "wire_errors.py",
}  # fmt: skip


def core() -> Iterator[tuple[str, Path]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        name = path.relative_to(PACKAGE).parts[0]
        if name not in APPLICATIONS:
            yield name, path


def imported(path: Path) -> set[str]:
    """Absolute names of what a module imports at run time: not below ``if TYPE_CHECKING``."""
    found: set[str] = set()

    def visit(node: ast.AST) -> None:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            return
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.level == 0:
                found.add(node.module or "")
            else:
                folder = path.relative_to(PACKAGE).parent.parts
                base = [*folder[: len(folder) - (node.level - 1)], *(node.module or "").split(".")]
                found.update({".".join(["apimaster", *filter(None, [*base, alias.name])]) for alias in node.names})
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(ast.parse(path.read_text(encoding="utf-8")))
    return found


def below(names: set[str], roots: set[str]) -> set[str]:
    return {name for name in names if any(name == root or name.startswith(f"{root}.") for root in roots)}


@pytest.mark.parametrize(("name", "path"), list(core()), ids=lambda value: value if isinstance(value, str) else "")
def test_only_the_drivers_and_the_transport_touch_network_clock_and_sleep(name: str, path: Path) -> None:
    found = imported(path)
    if name not in OUTSIDE:
        assert below(found, IO_MODULES) <= HARMLESS.get(name, set())
        assert not below(found, NETWORK) or name in NAMES_HTTPX
    assert not below(found, {"typer", "rich", "starlette", "uvicorn", "PIL", "click"})
    assert not below(found, {f"apimaster.{application}" for application in APPLICATIONS})


@pytest.mark.parametrize("name", sorted(PURE))
def test_what_decides_imports_nothing_that_acts(name: str) -> None:
    acting = {"apimaster.drivers", "apimaster.async_driver", "apimaster.transport", "apimaster.client"}
    acting |= {"apimaster.async_client", "apimaster.wiring", "os", "pathlib", "io", "threading"}
    allowed = {"durations.py": {"threading"}, "pacing.py": {"threading"}, "downloading.py": {"pathlib"}}
    # a result names the path where a picture was saved
    allowed["results.py"] = {"pathlib"}
    assert below(imported(PACKAGE / name), acting) <= allowed.get(name, set())


def test_every_field_name_of_the_wire_is_known_to_one_module() -> None:
    words = ('"task_id"', '"b64_json"', '"image_urls"', '"estimated_time"', '"expires_at"', '"actual_time"')
    allowed = {"wire.py", "request.py", "webhooks.py"}  # request.py guards extra_body; a delivery is its own format
    for name, path in core():
        text = path.read_text(encoding="utf-8")
        assert name in allowed or not any(word in text for word in words), name


@pytest.mark.parametrize("package", ["langchain-apimaster", "litellm-apimaster"])
def test_adapters_map_and_do_nothing_else(package: str) -> None:
    sources = REPOSITORY / "integrations" / package / "src"
    if not sources.exists():
        pytest.skip("this is not the repository")
    for path in sources.rglob("*.py"):
        names = {
            node.module if isinstance(node, ast.ImportFrom) else alias.name
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            if isinstance(node, (ast.Import, ast.ImportFrom))
            for alias in node.names
        }
        assert not below({name for name in names if name}, {"requests", "aiohttp", "socket", "urllib.request"}), path
        text = path.read_text(encoding="utf-8")
        assert "/images/generations" not in text, path


def test_importing_the_package_loads_no_extra_and_no_event_loop() -> None:
    program = (
        # httpx itself loads click and rich where they are installed, for its own command
        "import sys, httpx, pydantic; before = set(sys.modules); import apimaster; "
        "heavy = {'typer', 'click', 'rich', 'starlette', 'uvicorn', 'PIL', 'fsspec', 'aiohttp', 'asyncio', 'numpy'}; "
        "found = heavy & (set(sys.modules) - before); assert not found, found; "
        "found = {'typer', 'starlette', 'PIL', 'fsspec', 'asyncio'} & set(sys.modules); assert not found, found"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


PUBLIC = """
    APIConnectionError APIMaster APIMasterError AsyncAPIMaster AuthenticationError BadRequestError BudgetExceededError
    ContentPolicyError DownloadError GeneratedImage GenerationFailedError ImageFailure ImageRequest ImageResult
    InsufficientBalanceError InternalServerError NoImageError NotFoundError OutcomeUnknownError PermissionDeniedError
    Progress RateLimitError ReferenceImageError ResultExpiredError Task TaskTimeoutError Webhook
""".split()  # noqa: SIM905  # a list of names reads better without its quotes


def test_public_names_are_pinned_and_sorted() -> None:
    assert list(apimaster.__all__) == PUBLIC
    assert all(hasattr(apimaster, name) for name in PUBLIC)
    for name in PUBLIC:
        assert getattr(apimaster, name).__doc__, name


METHODS = {
    "generate": "prompt model aspect_ratio resolution n references google_search google_image_search mode save_to "
    "client_reference_id webhook extra_body timeout on_progress",
    "submit": "prompt model aspect_ratio resolution references google_search google_image_search client_reference_id "
    "webhook extra_body timeout on_progress",
    "retrieve": "task_id model",
    "wait": "task_or_id model timeout save_to on_progress",
    "download": "image path",
    "read": "image",
    "models": "",
    "with_options": "extra_headers purchase_retries",
}


def public_methods(kind: type) -> set[str]:
    return {name for name, _ in inspect.getmembers(kind, inspect.isfunction) if not name.startswith("_")}


def test_both_clients_have_the_same_methods() -> None:
    assert public_methods(APIMaster) - {"close"} == public_methods(AsyncAPIMaster) - {"aclose"} == set(METHODS)


@pytest.mark.parametrize("name", METHODS)
def test_both_clients_have_the_same_signatures(name: str) -> None:
    blocking, awaited = getattr(APIMaster, name), getattr(AsyncAPIMaster, name)
    assert inspect.signature(blocking) == inspect.signature(awaited)
    assert [each for each in inspect.signature(blocking).parameters if each != "self"] == METHODS[name].split()
    if name != "with_options":
        assert inspect.iscoroutinefunction(awaited)
        assert not inspect.iscoroutinefunction(blocking)
    assert blocking.__doc__


def test_both_clients_are_made_the_same_way() -> None:
    blocking = dict(inspect.signature(APIMaster).parameters)
    awaited = dict(inspect.signature(AsyncAPIMaster).parameters)
    transport = awaited.pop("transport")
    assert transport.default == "httpx"
    assert list(blocking) == list(awaited)
    assert " ".join(blocking) == "api_key base_url model timeout max_retries http_client max_polls_per_second"
    for name, parameter in blocking.items():
        assert parameter.default == awaited[name].default
        if name != "http_client":
            assert parameter.annotation == awaited[name].annotation


@pytest.mark.parametrize("kind", [APIMaster, AsyncAPIMaster])
def test_no_httpx_type_in_a_public_signature_but_http_client(kind: type) -> None:
    for name in [*public_methods(kind), "__init__"]:
        function = getattr(kind, name)
        for parameter, annotation in function.__annotations__.items():  # as they are written
            if parameter != "http_client":
                assert "httpx" not in str(annotation), (name, parameter)


def test_every_error_says_what_it_costs_and_is_in_the_tree_that_opens_its_module() -> None:
    from apimaster import errors

    tree = errors.__doc__ or ""
    for name in PUBLIC:
        kind = getattr(apimaster, name)
        if isinstance(kind, type) and issubclass(kind, Exception):
            assert issubclass(kind, apimaster.APIMasterError)
            assert f"{name}" in tree
            assert kind.billed in ("no", "maybe", "yes")
            assert not (kind.retryable and kind.billed != "no"), "what may be repeated can not have cost anything"


@pytest.mark.parametrize(("name", "path"), list(core()), ids=lambda value: value if isinstance(value, str) else "")
def test_a_module_opens_with_its_purpose_and_can_be_known(name: str, path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 300
    if name != "__init__.py":
        assert ast.get_docstring(ast.parse(text)), "what is it for?"
