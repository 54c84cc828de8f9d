"""The rules of the architecture: who may import what, which names are public, that both clients are the same."""

from __future__ import annotations

import ast
import inspect
import itertools
import re
import subprocess
import sys
import typing
from collections.abc import Iterator
from pathlib import Path

import pytest

import apimaster
from apimaster import APIMaster, AsyncAPIMaster, errors

PACKAGE = Path(apimaster.__file__).parent
REPOSITORY = Path(__file__).parent.parent

# Folders and modules of the package, and what each may import of the others. ``client`` stands for both clients.
DATA = {"account", "catalog", "errors", "pricing", "request", "results", "settings"}
PUBLIC_MODULES = {"", "adapters", "async_client", "client", "ledger", "webhooks", *DATA}
# The rules of the ledger, without its stores and its thread.
LEDGER_RULES = {
    f"ledger.{name}"
    for name in ("digest", "matching", "purchase", "rows", "schema", "settling", "settling_due", "steps", "usage_log")
}
MAY_IMPORT: dict[str, set[str]] = {
    # what callers import
    "_version": set(),
    "errors": set(),
    "catalog": {"errors"},
    "account": set(),
    "request": {"_images", "_model_rules", "_references", "catalog", "errors"},
    "results": {"errors", "request"},
    "settings": {"errors"},
    "pricing": set(),
    "webhooks": {"_flows", "_transport", "catalog", "errors", "request", "results"},
    # the private layers, from the bottom up
    "_images": {"catalog", "errors"},
    "_model_rules": {"_images", "catalog"},
    "_references": {"_images", "catalog", "errors"},
    "_storage": {"_images", "errors"},
    "_polling": {"errors"},
    "_transport": {"_version"},
    "_wire": {
        *("_flows.operations", "_references", "account", "catalog", "errors", "pricing", "request", "results"),
        *("webhooks.delivery", "webhooks.endpoints"),
    },
    "ledger": {"_references", *DATA},
    "_flows": {
        *("_images", "_polling", "_references", "_storage", "_wire", "webhooks.endpoints", "webhooks.secrets"),
        *(*LEDGER_RULES, *DATA),
    },
    "_drivers": {"_flows.operations", "_transport", "errors", "settings"},
    # the clients put the layers together
    "_base_client": {"_drivers", "_flows", "_polling", "_references", "_storage", "ledger", "webhooks", *DATA},
    "client": {"_base_client", "_drivers", "_flows", "async_client", "webhooks", *DATA},
    "async_client": {"_base_client", "_drivers", "_flows", "webhooks", *DATA},
    "": {"async_client", "client", *DATA},
    # the one page of private pieces that integrations may use
    "adapters": {"_flows", "_images", "_references", "_storage", "_transport", "errors"},
    # what is built on the core
    "emulator": {"catalog", "webhooks"},
    "batch": PUBLIC_MODULES,
    "cli": {"batch", "emulator", *PUBLIC_MODULES},
}
APPLICATIONS = ("cli", "emulator", "batch")

# Who may touch the network, a clock or a sleep, and who may name httpx.
TOUCH_THE_OUTSIDE = {"_drivers", "_transport"}
NAME_HTTPX = {"client", "async_client"}  # in the type of ``http_client``
IO_MODULES = {"socket", "ssl", "select", "selectors", "http", "urllib.request", "asyncio", "anyio", "time", "requests"}
NETWORK = {"httpx", "httpcore", "aiohttp", "httpx_aiohttp"}
HARMLESS = {
    "_wire/json_body.py": {"asyncio"},  # an asynchronous body reads its files in threads
    "_wire/multipart_body.py": {"asyncio"},  # the same
    "_storage/target.py": {"urllib.request"},  # for its reading of file: URLs
    "ledger/backend.py": {"socket"},  # the name of this machine
    "ledger/group_writer.py": {"time"},  # how long a store that can't be reached is tried
    "ledger/lease.py": {"time"},  # how long this process itself was cut off
    "ledger/postgres_database.py": {"time"},  # the pause before a transaction starts over
    "ledger/sqlite_file.py": {"time"},  # how long others may take to switch a new file
    "ledger/sqlite.py": {"time"},  # its clock is the machine's
    "ledger/turns.py": {"time"},  # how long a step may wait for its turn
    "webhooks/delivery.py": {"time"},  # the age of a delivery, where the caller does not hand in the time
    "webhooks/secrets.py": {"time"},  # whether a secret that was replaced has ended, in the same case
    "webhooks/waiter.py": {"time"},  # how long a report waits for somebody to ask for it
}
# What decides, and so can be tested without waiting: these import nothing that acts.
PURE = {"_flows", "_polling", "_wire", "account", "catalog", "errors", "pricing", "request", "results"}
ACTING = {"os", "pathlib", "io", "threading"}
HARMLESS_IN_PURE = {
    "_polling/history.py": {"threading"},
    "_polling/rate_limit.py": {"threading"},
    "_flows/spellings.py": {"threading"},
    "catalog/corrections.py": {"os"},  # the user's file
    "catalog/table.py": {"os"},  # the data file, and the variable that names the user's
    "_flows/download.py": {"pathlib"},  # it returns the path where a picture was saved
    "results.py": {"pathlib"},  # and a result names it
}


def module_files() -> Iterator[tuple[str, Path]]:
    """Every module by its path below the package."""
    for path in sorted(PACKAGE.rglob("*.py")):
        yield path.relative_to(PACKAGE).as_posix(), path


def room(name: str) -> str:
    """The folder, or the module at the top, that a file belongs to; empty for the package itself."""
    first = name.partition("/")[0].removesuffix(".py")
    return "" if first == "__init__" else first


def imported(path: Path, *, for_types: bool = False) -> set[str]:
    """Absolute names of what a module imports at run time, and with ``for_types`` also below ``if TYPE_CHECKING``."""
    found: set[str] = set()

    def visit(node: ast.AST) -> None:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test) and not for_types:
            return
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            found.add(node.module or "")
            if (node.module or "").partition(".")[0] == "apimaster":
                found.update(f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and path.is_relative_to(PACKAGE):
            folder = path.relative_to(PACKAGE).parent.parts
            base = [*folder[: len(folder) - (node.level - 1)], *(node.module or "").split(".")]
            found.update({".".join(["apimaster", *filter(None, [*base, alias.name])]) for alias in node.names})
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(ast.parse(path.read_text(encoding="utf-8")))
    return found


def below(names: set[str], roots: set[str]) -> set[str]:
    return {name for name in names if any(name == root or name.startswith(f"{root}.") for root in roots)}


FILES = dict(module_files())
CORE = [name for name in FILES if room(name) not in APPLICATIONS]


def ours(names: set[str]) -> set[str]:
    """What is imported of the package itself, without the package's name: ``_flows.poll``, ``errors``."""
    found = set()
    for name in below(names, {"apimaster"}):
        parts = name.split(".")[1:]
        # ``from ..errors import X`` is seen as errors.X, ``from .. import X`` as X, which is the package's
        here = PACKAGE.joinpath(*parts[:1])
        found.add(".".join(parts) if here.is_dir() or here.with_suffix(".py").exists() else "")
    return found


@pytest.mark.parametrize("name", FILES)
def test_each_folder_imports_only_what_its_row_of_the_table_names(name: str) -> None:
    here = room(name)
    for found in ours(imported(FILES[name], for_types=here in APPLICATIONS)):
        there = found.partition(".")[0]
        allowed = MAY_IMPORT[here]
        assert there == here or there in allowed or any(below({found}, allowed)), f"{name} imports {found}"


def test_the_map_in_contributing_says_the_same() -> None:
    text = (REPOSITORY / "CONTRIBUTING.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| ([^|]+) \| ([^|]+) \|$", text, re.MULTILINE)
    assert all(purpose.strip() for _, purpose, _ in rows)
    written = {}
    for name, _, imports in rows:
        words = {"data": DATA, "public": PUBLIC_MODULES, "the rules of the ledger": LEDGER_RULES, "nothing": set()}
        parts = [part.strip() for part in imports.split(",")]
        written[name] = {each for part in parts for each in words.get(part, {part.strip("`")})}
    assert written == {name: allowed for name, allowed in MAY_IMPORT.items() if name}


def test_the_table_has_a_row_for_each_folder_and_no_other() -> None:
    assert set(MAY_IMPORT) == {room(name) for name in FILES}


@pytest.mark.parametrize("name", CORE)
def test_only_the_drivers_and_the_transport_touch_network_clock_and_sleep(name: str) -> None:
    found = imported(FILES[name])
    if room(name) not in TOUCH_THE_OUTSIDE:
        assert below(found, IO_MODULES) <= HARMLESS.get(name, set())
        assert not below(found, NETWORK) or room(name) in NAME_HTTPX
    # A PIL image that a caller hands over is encoded by Pillow; whoever has one has Pillow.
    of_callers = {"PIL"} if name == "_references/pillow.py" else set()
    assert below(found, {"typer", "rich", "starlette", "uvicorn", "PIL", "click"}) <= of_callers
    if room(name) in PURE:
        assert below(found, ACTING) <= HARMLESS_IN_PURE.get(name, set())


def test_every_field_name_of_the_wire_is_known_to_one_folder() -> None:
    words = (
        '"task_id"',
        '"b64_json"',
        '"image_urls"',
        '"mask_url"',
        '"estimated_time"',
        '"expires_at"',
        '"actual_time"',
    )
    # the rules guard extra_body, a delivery is a format of its own, and the ledger has a column of that name
    allowed = {"_model_rules", "_wire", "ledger", "webhooks"}
    of_others = "_references/blocks.py"  # the forms of other providers
    for name in CORE:
        text = FILES[name].read_text(encoding="utf-8")
        assert room(name) in allowed or name == of_others or not any(word in text for word in words), name


INTEGRATIONS = {
    package: list((REPOSITORY / "integrations" / package / "src").rglob("*.py"))
    for package in ("langchain-apimaster", "litellm-apimaster")
}
# Adapters map: they have the core's clients for all of this, and the page ``adapters`` for what is not a public name.
MAY_INTEGRATIONS_IMPORT = {"", "adapters", "ledger", "webhooks", *DATA}
NOT_IN_AN_INTEGRATION = {*NETWORK, "requests", "urllib3", "socket", "urllib.request", "sqlite3", "psycopg"}
# What the clients, tasks and pictures keep for themselves.
PRIVATE = {"_codec", "_context", "_data", "_driver", "_given", "_settings", "_timeout"}


@pytest.mark.parametrize("package", INTEGRATIONS)
def test_integrations_map_and_do_nothing_else(package: str) -> None:
    assert INTEGRATIONS[package]
    for path in INTEGRATIONS[package]:
        found = imported(path, for_types=True)
        assert {name.partition(".")[0] for name in ours(found)} <= MAY_INTEGRATIONS_IMPORT, path
        assert not below(found, NOT_IN_AN_INTEGRATION), path
        text = path.read_text(encoding="utf-8")
        assert "/images/generations" not in text, path
        assert not re.search(r"\b(time|asyncio)\.sleep\(", text), path


def test_nobody_outside_the_core_reaches_into_its_objects() -> None:
    outside = [FILES[name] for name in FILES if room(name) in APPLICATIONS]
    for path in [*outside, *(path for paths in INTEGRATIONS.values() for path in paths)]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and node.attr in PRIVATE:
                assert ast.unparse(node.value) in ("self", "cls", "made"), f"{path}:{node.lineno} {ast.unparse(node)}"


SEARCHES = {
    *("startswith", "endswith", "find", "rfind", "index", "count", "partition", "rpartition", "split", "rsplit"),
    *("replace", "removeprefix", "removesuffix", "match", "fullmatch", "search", "findall", "sub"),
}
COMPARISONS = (ast.In, ast.NotIn, ast.Eq, ast.NotEq)
EXCEPTIONS = {"error", "cause", "exc", "exception", "fault", "wrong", "invalid", "refusal", "missing"}


def is_text_of_an_error(node: ast.AST) -> bool:
    """Whether an expression holds an error's text: ``error.message``, ``fault["msg"]``, ``str(error)``."""
    for part in ast.walk(node):
        if isinstance(part, ast.Attribute) and part.attr in ("message", "msg", "advice"):
            return True
        if isinstance(part, ast.Subscript) and isinstance(part.slice, ast.Constant) and part.slice.value == "msg":
            return True
        if isinstance(part, ast.Call) and ast.unparse(part.func) == "str" and len(part.args) == 1:
            found = part.args[0]
            if isinstance(found, ast.Name) and found.id in EXCEPTIONS:
                return True
    return False


@pytest.mark.parametrize(
    "path", [*FILES.values(), *itertools.chain(*INTEGRATIONS.values())], ids=lambda path: path.name
)
def test_nobody_decides_by_the_text_of_an_error(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        searched: list[ast.AST] = []
        if isinstance(node, ast.Compare) and any(isinstance(each, COMPARISONS) for each in node.ops):
            searched = [node.left, *node.comparators]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in SEARCHES:
            searched = [node.func.value, *node.args]
        assert not any(map(is_text_of_an_error, searched)), f"{path}:{node.lineno} {ast.unparse(node)}"


ERRORS = {name for name in dir(errors) if name.endswith("Error")}
ADVISES = re.compile(r"[;:,] (choose|give|install|leave|make|open|pass|put|read|say|set|try|use|write) ", re.IGNORECASE)


@pytest.mark.parametrize(
    "path", [*FILES.values(), *itertools.chain(*INTEGRATIONS.values())], ids=lambda path: path.name
)
def test_the_message_of_an_error_holds_no_advice(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and node.args and ast.unparse(node.func) in ERRORS:
            message = " ".join(
                part.value
                for part in ast.walk(node.args[0])
                if isinstance(part, ast.Constant) and isinstance(part.value, str)
            )
            assert not ADVISES.search(message), f"{path}:{node.lineno} {message}"


def test_every_name_of_the_adapters_page_is_documented_there() -> None:
    from apimaster import adapters

    assert list(adapters.__all__) == sorted(adapters.__all__)
    for name in adapters.__all__:
        assert getattr(adapters, name).__doc__, name
        assert f"``{name}" in (adapters.__doc__ or ""), name


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
    APIConnectionError APIMaster APIMasterError Account AsyncAPIMaster AuthenticationError BadRequestError
    BudgetExceededError Charge Charges ContentPolicyError DownloadError GeneratedImage GenerationFailedError
    ImageFailure ImageRequest ImageResult InsufficientBalanceError InternalServerError LedgerError ModelPrice
    NoImageError NotFoundError OutcomeUnknownError PermissionDeniedError PriceList Progress RateLimitError
    ReferenceImageError ResultExpiredError Task TaskTimeoutError Webhook
""".split()  # noqa: SIM905  # a list of names reads better without its quotes


def test_public_names_are_pinned_and_sorted() -> None:
    assert list(apimaster.__all__) == PUBLIC
    assert all(hasattr(apimaster, name) for name in PUBLIC)
    for name in PUBLIC:
        assert getattr(apimaster, name).__doc__, name


METHODS = {
    "generate": "prompt model aspect_ratio resolution n references mask google_search google_image_search mode save_to "
    "client_reference_id webhook extra_body timeout on_progress idempotency_key budget references_by",
    "edit": "prompt references mask model aspect_ratio resolution n google_search google_image_search mode save_to "
    "client_reference_id webhook extra_body timeout on_progress idempotency_key budget references_by",
    "submit": "prompt model aspect_ratio resolution references mask google_search google_image_search "
    "client_reference_id webhook extra_body timeout on_progress idempotency_key budget references_by",
    "upload": "picture timeout",
    "retrieve": "task_id model",
    "wait": "task_or_id model timeout save_to on_progress",
    "download": "image path",
    "read": "image",
    "models": "",
    "account": "",
    "charges": "since",
    "price_list": "model",
    "settle": "keys save_to timeout",
    "with_options": "extra_headers purchase_retries ledger purchase_alias purchase_asked plan_again flush_pictures "
    "webhook_waiter references_by",
}


def public_methods(kind: type) -> set[str]:
    return {name for name, _ in inspect.getmembers(kind, inspect.isfunction) if not name.startswith("_")}


def test_both_clients_have_the_same_methods() -> None:
    assert (
        public_methods(APIMaster) - {"as_async", "close"} == public_methods(AsyncAPIMaster) - {"aclose"} == set(METHODS)
    )


@pytest.mark.parametrize("name", METHODS)
def test_both_clients_have_the_same_signatures(name: str) -> None:
    blocking, awaited = getattr(APIMaster, name), getattr(AsyncAPIMaster, name)
    assert inspect.signature(blocking) == inspect.signature(awaited)
    assert [each for each in inspect.signature(blocking).parameters if each != "self"] == METHODS[name].split()
    if name != "with_options":
        assert inspect.iscoroutinefunction(awaited)
        assert not inspect.iscoroutinefunction(blocking)
    assert blocking.__doc__


@pytest.mark.parametrize("name", ["generate", "edit", "submit"])
def test_both_clients_describe_every_argument_themselves(name: str) -> None:
    described = []
    for kind in (APIMaster, AsyncAPIMaster):
        text = inspect.getdoc(getattr(kind, name)) or ""
        arguments = text.partition("Args:\n")[2].partition("\n\n")[0]
        assert re.findall(r"^    (\w+): ", arguments, re.MULTILINE) == METHODS[name].split()
        assert "see ``" not in arguments
        assert not re.search(r"\([A-Z](, [A-Z])*\)", text), "a letter of a document that is not in the repository"
        described.append(text.replace(", plain or async,", "").split())
    assert described[0] == described[1]


@pytest.mark.parametrize("name", ["generate", "edit", "submit"])
@pytest.mark.parametrize("kind", [APIMaster, AsyncAPIMaster])
def test_the_signatures_name_the_accepted_values(kind: type, name: str) -> None:
    hints = typing.get_type_hints(getattr(kind, name))
    accepted = {
        "aspect_ratio": {*apimaster.catalog.ASPECT_RATIOS, str},  # any text may be pixels
        "resolution": set(apimaster.catalog.RESOLUTIONS),
        "mode": {"auto", "sync", "async"},
        "references_by": {"auto", "inline", "upload"},
    }
    for argument in accepted.keys() & hints.keys():
        parts = {*typing.get_args(hints[argument])} or {hints[argument]}
        values = {value for part in parts for value in (typing.get_args(part) or (part,))} - {type(None)}
        assert values == accepted[argument], argument


def test_both_clients_are_made_the_same_way() -> None:
    blocking = dict(inspect.signature(APIMaster).parameters)
    awaited = dict(inspect.signature(AsyncAPIMaster).parameters)
    transport = awaited.pop("transport")
    assert transport.default == "httpx"
    assert list(blocking) == list(awaited)
    names = "api_key base_url model timeout max_retries http_client max_polls_per_second ledger webhook_waiter"
    assert " ".join(blocking) == f"{names} references_by"
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


@pytest.mark.parametrize("name", FILES)
def test_a_module_opens_with_its_purpose(name: str) -> None:
    if not name.endswith(("_version.py", "__main__.py")):
        assert ast.get_docstring(ast.parse(FILES[name].read_text(encoding="utf-8"))), "what is it for?"
