"""The group ``apimaster webhooks``: endpoints, their secrets, events.

A new secret is printed once, on stdout, unless ``--save-secret`` names a file for it: then it is only there.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, TypeVar

import typer

from ... import AsyncAPIMaster
from ...webhooks import (
    AsyncWebhooks,
    CreatedWebhookEndpoint,
    RotatedWebhookSecret,
    WebhookEndpoint,
    WebhookSecretNotSavedError,
)
from .. import options
from ..client_runner import Endpoint, run_with_client
from ..exit_codes import OK
from ..printing import moment, one_line, print_json, print_message, print_result
from ..resume import CommandStopped, ResumeCommand
from .listen import listen
from .wording import SHOWN_ONCE, VERIFY_NEXT, endpoint_lines, event_facts, event_lines, secret_document, webhook_advice

T = TypeVar("T")

webhooks_app = typer.Typer(
    name="webhooks",
    no_args_is_help=True,
    help="Where the gateway reports the end of tasks: endpoints, their secrets, events.",
    rich_markup_mode=None,
)
webhooks_app.command("listen")(listen)

_EndpointId = Annotated[str, typer.Argument(metavar="ENDPOINT", help="Its id, whep_….", show_default=False)]
_EventId = Annotated[str, typer.Argument(metavar="EVENT", help="Its id, evt_….", show_default=False)]
_SaveSecret = Annotated[
    str | None,
    typer.Option("--save-secret", metavar="FILE", help="Write the secret into this file (mode 0600), don't print it."),
]


def register(app: typer.Typer) -> None:
    """Add the group to the ``apimaster`` command."""
    app.add_typer(webhooks_app, name="webhooks")


@webhooks_app.command("create")
def create(
    url: Annotated[str, typer.Argument(metavar="URL", help="Public https on port 443.", show_default=False)],
    save_secret: _SaveSecret = None,
    base_url: options.BaseUrl = None,
    as_json: options.AsJson = False,
) -> int:
    """Register a URL, and print the secret that signs its deliveries. The gateway shows it this once.

    Requests may name the endpoint once `apimaster webhooks verify` has succeeded.
    """
    made = _call("create", base_url, as_json, lambda hooks: hooks.create(url, save_secret=save_secret))
    if as_json:
        print_json(secret_document(made) if save_secret is None else made.model_dump(mode="json"))
        return OK
    _print_endpoints(made.endpoint)
    _print_secret(made, made.endpoint.key_id, save_secret)
    print_message(VERIFY_NEXT.format(id=one_line(made.endpoint.id)))
    return OK


@webhooks_app.command("list")
def list_endpoints(base_url: options.BaseUrl = None, as_json: options.AsJson = False) -> int:
    """List the endpoints."""
    found = _call("list", base_url, as_json, lambda hooks: hooks.list())
    if as_json:
        print_json({"endpoints": [endpoint.model_dump(mode="json") for endpoint in found]})
    elif found:
        _print_endpoints(*found)
    else:
        print_message("No webhook endpoints.")
    return OK


@webhooks_app.command("verify")
def verify(endpoint: _EndpointId, base_url: options.BaseUrl = None, as_json: options.AsJson = False) -> int:
    """Have the gateway send the challenge to an endpoint now. Its receiver must answer it."""
    return _show_endpoint(_call("verify", base_url, as_json, lambda hooks: hooks.verify(endpoint)), as_json)


@webhooks_app.command("enable")
def enable(endpoint: _EndpointId, base_url: options.BaseUrl = None, as_json: options.AsJson = False) -> int:
    """Turn an endpoint on again. Deliveries that have waited go out."""
    return _show_endpoint(_call("enable", base_url, as_json, lambda hooks: hooks.enable(endpoint)), as_json)


@webhooks_app.command("disable")
def disable(endpoint: _EndpointId, base_url: options.BaseUrl = None, as_json: options.AsJson = False) -> int:
    """Turn an endpoint off. Its deliveries wait until it is on again."""
    return _show_endpoint(_call("disable", base_url, as_json, lambda hooks: hooks.disable(endpoint)), as_json)


@webhooks_app.command("rotate")
def rotate(
    endpoint: _EndpointId,
    save_secret: _SaveSecret = None,
    base_url: options.BaseUrl = None,
    as_json: options.AsJson = False,
) -> int:
    """Give an endpoint a new secret, and print it once. The old one stays valid for 24 hours."""
    made = _call("rotate", base_url, as_json, lambda hooks: hooks.rotate(endpoint, save_secret=save_secret))
    if as_json:
        print_json(secret_document(made) if save_secret is None else made.model_dump(mode="json"))
        return OK
    _print_secret(made, made.key_id, save_secret)
    old = f"The old secret{f' ({one_line(made.previous_key_id)})' if made.previous_key_id else ''}"
    print_message(f"{old} is valid until {moment(made.previous_valid_until)}: a receiver needs both until then.")
    return OK


@webhooks_app.command("events")
def events(
    task: Annotated[str | None, typer.Option("--task", metavar="ID", help="Only of this task.")] = None,
    status: Annotated[str | None, typer.Option("--status", metavar="WORD", help="Only in this state.")] = None,
    limit: Annotated[int, typer.Option("--limit", metavar="COUNT", help="How many, 1 to 100.")] = 20,
    offset: Annotated[int, typer.Option("--offset", metavar="COUNT", help="Leave out so many before.")] = 0,
    base_url: options.BaseUrl = None,
    as_json: options.AsJson = False,
) -> int:
    """List events, and how far their delivery is."""
    found = _call(
        "events",
        base_url,
        as_json,
        lambda hooks: hooks.events(task=task, status=status, limit=limit, offset=offset),
    )
    if as_json:
        print_json({"events": [event.model_dump(mode="json") for event in found]})
        return OK
    for line in event_lines(found) if found else []:
        print_result(line)
    if not found:
        print_message("No such events.")
    return OK


@webhooks_app.command("show")
def show(event: _EventId, base_url: options.BaseUrl = None, as_json: options.AsJson = False) -> int:
    """Show an event, with what is delivered and every delivery."""
    found = _call("show", base_url, as_json, lambda hooks: hooks.event(event))
    if as_json:
        print_json(found.model_dump(mode="json"))
        return OK
    for line in event_facts(found):
        print_result(line)
    return OK


@webhooks_app.command("redeliver")
def redeliver(event: _EventId, base_url: options.BaseUrl = None, as_json: options.AsJson = False) -> int:
    """Have the gateway deliver an event once more: up to 5 times a day, for 30 days."""
    _call("redeliver", base_url, as_json, lambda hooks: hooks.redeliver(event))
    if as_json:
        print_json({"event_id": event.strip(), "redelivering": True})
    else:
        print_result(f"{one_line(event)}: a delivery is under way")
    return OK


@webhooks_app.command("capabilities")
def capabilities(model: options.Model = None, base_url: options.BaseUrl = None, as_json: options.AsJson = False) -> int:
    """Print whether tasks of a model report their end, and with which events."""
    found = _call("capabilities", base_url, as_json, lambda hooks: hooks.capabilities(model))
    if as_json:
        print_json(found.model_dump(mode="json"))
        return OK
    says = f"reports {', '.join(found.events) or 'the end of tasks'}" if found.supported else "reports nothing"
    print_result(one_line(f"{found.model}: {says}"))
    return OK


def _call(name: str, base_url: str | None, as_json: bool, work: Callable[[AsyncWebhooks], Awaitable[T]]) -> T:
    """What a call to ``client.webhooks`` gives.

    Raises:
        CommandStopped: it failed; the advice is that for this command.
    """

    async def run(client: AsyncAPIMaster) -> T:
        return await work(client.webhooks)

    try:
        return run_with_client(run, Endpoint(base_url=base_url), resume=ResumeCommand("."))
    except CommandStopped as stop:
        if isinstance(stop.error, WebhookSecretNotSavedError) and stop.error.result is not None:
            _rescue(stop.error.result, as_json)
        if stop.error is not None:
            stop.advice = webhook_advice(stop.error, name)
        raise


def _rescue(made: CreatedWebhookEndpoint | RotatedWebhookSecret, as_json: bool) -> None:
    """Print a secret that could not be saved: it would be lost. stdout holds the error's JSON, if any."""
    secret = made.signing_secret.get_secret_value()
    (print_message if as_json else print_result)(f"signing secret: {secret}")


def _show_endpoint(endpoint: WebhookEndpoint, as_json: bool) -> int:
    if as_json:
        print_json(endpoint.model_dump(mode="json"))
    else:
        _print_endpoints(endpoint)
    return OK


def _print_endpoints(*endpoints: WebhookEndpoint) -> None:
    for line in endpoint_lines(endpoints):
        print_result(line)


def _print_secret(made: CreatedWebhookEndpoint | RotatedWebhookSecret, key_id: str | None, saved: str | None) -> None:
    if saved is not None:
        print_message(f"The secret{f' {one_line(key_id)}' if key_id else ''} is in {saved}.")
        return
    print_result(f"signing secret: {made.signing_secret.get_secret_value()}")
    print_message(SHOWN_ONCE)
