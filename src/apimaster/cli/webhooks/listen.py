"""``apimaster webhooks listen``: a receiver of webhooks that prints each event, runs a command, or forwards it."""

from __future__ import annotations

import asyncio
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from ...errors import BadRequestError
from ..exit_codes import BUG, OK
from ..printing import print_message
from .actions import Action, CommandAction, ForwardAction, PrintAction

if TYPE_CHECKING:
    from .http_server import HttpServer
    from .receiver import Receiver

_EVENTS: Final = "apimaster-webhook-events.sqlite"


def listen(
    exec_: Annotated[
        str | None,
        typer.Option("--exec", metavar="COMMAND", help="Run this for each event, without a shell; JSON on its stdin."),
    ] = None,
    forward: Annotated[
        str | None, typer.Option("--forward", metavar="URL", help="Send each event on, with its signature.")
    ] = None,
    secret_file: Annotated[
        Path | None,
        typer.Option("--secret-file", metavar="FILE", help="The secrets; default: APIMASTER_WEBHOOK_SECRET."),
    ] = None,
    port: Annotated[
        int, typer.Option("--port", metavar="PORT", min=0, max=65535, help="0 takes any free port.")
    ] = 8790,
    host: Annotated[str, typer.Option("--host", metavar="HOST", help="The address to listen at.")] = "127.0.0.1",
    path: Annotated[str, typer.Option("--path", metavar="PATH", help="The path of the endpoint's URL.")] = "/",
    events: Annotated[
        Path, typer.Option("--events", metavar="FILE", help="Remembers which events were handled.")
    ] = Path(_EVENTS),
    timeout: Annotated[float, typer.Option("--timeout", metavar="SECONDS", help="For one event.")] = 60.0,
    attempts: Annotated[
        int, typer.Option("--attempts", metavar="COUNT", min=1, help="Before an event that fails is given up.")
    ] = 10,
    at_once: Annotated[int, typer.Option("--at-once", metavar="COUNT", min=1, max=64, help="Events at a time.")] = 4,
) -> int:
    """Receive webhooks until Ctrl-C.

    Each event is verified and handled once, also after a restart. By default it is one line of JSON on stdout. A proxy
    with TLS must stand before it, since the gateway delivers to public https URLs only.
    """
    if exec_ is not None and forward is not None:
        raise BadRequestError("--exec and --forward exclude each other", advice="Leave one of them out.")
    if not 0 < timeout < math.inf:
        raise BadRequestError(f"--timeout must be a finite number of seconds above 0, not {timeout}")
    if not path.startswith("/") or not path.isascii() or not path.isprintable() or any(sign in path for sign in "?# %"):
        raise BadRequestError(f"--path must begin with a slash and be plain text without ? # or %, not {path!r}")
    action: Action = PrintAction()
    if exec_ is not None:
        action = CommandAction(exec_, timeout)
    elif forward is not None:
        action = ForwardAction(forward, timeout)
    return _run(action, secret_file, events, host, port, path, timeout=timeout, attempts=attempts, at_once=at_once)


def _run(
    action: Action,
    secret_file: Path | None,
    events: Path,
    host: str,
    port: int,
    path: str,
    *,
    timeout: float,
    attempts: int,
    at_once: int,
) -> int:
    try:
        from .http_server import HttpServer, bind
    except ModuleNotFoundError as missing:
        raise BadRequestError(
            f"The receiver needs {missing.name}, which is not installed.",
            advice='Install it with: pip install "apimaster[emulator]"',
        ) from None
    from ...webhooks.asgi import WebhookApp
    from .handled_events import HandledEvents
    from .receiver import Receiver
    from .secret_source import SecretSource

    secrets = SecretSource(secret_file)
    handled = HandledEvents(events)
    try:
        listening = bind(host, port)
    except OSError as fault:
        raise BadRequestError(
            f"{host}:{port} can't be used: {fault.strerror or fault}",
            advice="Name another --port (0 takes any free one) or --host, or end the program that listens there.",
        ) from None

    async def serve() -> bool:
        receiver = Receiver(secrets, handled, action, timeout=timeout, attempts=attempts, at_once=at_once)
        server = HttpServer(WebhookApp(receiver.handle), path)
        gone = _join(receiver, server)
        shown = f"[{host}]" if ":" in host else host
        print_message(f"Listening at http://{shown}:{listening.getsockname()[1]}{path} (Ctrl-C ends it).")
        try:
            await server.serve(listening)
        finally:
            await action.aclose()
        return bool(gone)

    try:
        unread = asyncio.run(serve())
    except KeyboardInterrupt:  # the server has finished what was under way
        return OK
    finally:
        listening.close()
    return BUG if unread else OK


def _join(receiver: Receiver, server: HttpServer) -> list[bool]:
    """Let each know when the other stops. The list is not empty if nobody reads stdout any more."""
    gone: list[bool] = []

    def stop() -> None:
        gone.append(True)
        server.stop()

    receiver.stdout_is_gone = stop
    receiver.stopping = lambda: server.stopping
    return gone
