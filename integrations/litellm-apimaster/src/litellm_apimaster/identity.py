"""Which request of which caller a call is: what LiteLLM and the client say about that.

A call has up to three names. The caller's own idempotency key comes as a header of the client or as a parameter.
LiteLLM's call id is the same in all attempts that a proxy or ``completion`` makes; a Router outside a proxy gives each
attempt a new one, and all attempts of one call one trace id, or ``router_attempts`` gives them one. A client that
repeats a request by itself counts its retries in a header.

Everything is scoped by the caller: the virtual key with which a client of the proxy came. What it asks for is
compared without what a Router chose: the model, and the defaults of a deployment. The model that a client of the proxy
names counts.
"""

from __future__ import annotations

import hashlib
import json
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote, unquote

from apimaster import ImageRequest
from apimaster.errors import BadRequestError

from .call_arguments import FROM_PROXY
from .deployment_defaults import parameter_sources
from .router_attempts import shared_id

IDEMPOTENCY_KEY: Final = "idempotency_key"
MAX_KEY: Final = 255
BY_A_RETRY: Final = "/retry"
"""How the key of a purchase ends that the retry of a client began: its first attempt had not begun one by then."""

_KEY_HEADER: Final = "idempotency-key"
_RETRY_HEADER: Final = "x-stainless-retry-count"
_METADATA: Final = ("metadata", "litellm_metadata")
_CALLER: Final = "user_api_key_hash"
# Who somebody is that came without a virtual key: with a JWT, or through an authentication of the operator's own.
_PERSON: Final = ("user_api_key_user_id", "user_api_key_team_id", "user_api_key_org_id", "user_api_key_end_user_id")
_FAILED_ATTEMPTS: Final = "previous_models"
_EXCEPTION_CLASS: Final = "exception_type"
_LONGEST_PLAIN_NAME: Final = 120
# As in Azure's addresses, which the proxy takes too: /openai/deployments/MODEL/…
_MODEL_IN_ADDRESS: Final = re.compile(r"/(?:deployments|engines)/([^?#]+?)/(?:images|chat)/")


@dataclass(frozen=True, slots=True)
class Identity:
    """The names of one call.

    Attributes:
        key: the ledger's key for all attempts at this purchase, whichever model they ask.
        asked: what the ledger compares under the key; its model is the one that a client of the proxy named, or empty.
        alias: what a client's retry has in common with its first attempt: the caller and the body. Outside a proxy,
            what a Router's attempts have in common; None if there is nothing.
        in_proxy: whether the call comes from a client of a proxy, where all attempts have one call id.
        call_id: LiteLLM's call id.
        named: whether the caller gave an idempotency key.
        client_retries: how often the client says that it has repeated the request.
        router_retry: whether a Router says that this is not its first attempt.
        after: the class name of the error of the Router's attempt before this one, or None.
    """

    key: str
    asked: ImageRequest
    alias: str | None
    in_proxy: bool
    call_id: str
    named: bool
    client_retries: int
    router_retry: bool
    after: str | None


def identify(arguments: Mapping[str, Any], asked: ImageRequest) -> Identity:
    """The names of a call, from all of its arguments and what its caller asked for.

    Raises:
        BadRequestError: the idempotency key is not a text, is empty or too long.
    """
    headers = _client_headers(arguments)
    caller = _caller(arguments)
    client = arguments.get(FROM_PROXY)
    named_model = _named_model(client) if isinstance(client, Mapping) else ""
    digest = _digest(_without_model(asked))
    scope = f"litellm/{_digest(caller)}"
    key = _idempotency_key(arguments, headers)
    call_id = str(arguments.get("litellm_call_id") or uuid.uuid4())  # an empty id is no id
    failed = _failed_attempts(arguments)
    router_retry = _is_router_retry(arguments) or bool(failed)
    alias = None
    if isinstance(client, Mapping):
        alias = f"litellm/{_digest([caller, named_model, digest])}"
    elif FROM_PROXY not in arguments:
        trace = arguments.get("litellm_trace_id") or shared_id(arguments, is_retry=router_retry)
        alias = f"litellm/{_digest([caller, str(trace), digest, 'trace'])}" if trace else None
    after = failed[-1].get(_EXCEPTION_CLASS) if failed else None
    client_retries = _count(headers.get(_RETRY_HEADER)) if isinstance(client, Mapping) else 0
    own = f"{scope}/call/{_plain(call_id)}/{digest}{BY_A_RETRY if client_retries else ''}"
    return Identity(
        key=f"{scope}/key/{_plain(key)}" if key is not None else own,
        asked=asked.model_copy(update={"model": named_model}),
        alias=alias,
        in_proxy=FROM_PROXY in arguments,
        call_id=call_id,
        named=key is not None,
        client_retries=client_retries,
        router_retry=router_retry,
        after=str(after) if after and _is_router_retry(arguments) else None,
    )


def _named_model(client: Mapping[str, Any]) -> str:
    """The model that a client of the proxy names: in the address, which wins at the proxy, or in the body."""
    in_address = _MODEL_IN_ADDRESS.search(str(client.get("url") or ""))
    if in_address is not None:
        return unquote(in_address[1])
    body = client.get("body")
    return str(body.get("model") or "") if isinstance(body, Mapping) else ""


def _idempotency_key(arguments: Mapping[str, Any], headers: Mapping[str, str]) -> str | None:
    """The key of the call: its parameter, else the client's header, else a default of the deployment."""
    *defaults, call = [source.merged.get(IDEMPOTENCY_KEY) for source in parameter_sources(arguments)]
    given = next((each for each in (call, headers.get(_KEY_HEADER), *defaults) if each is not None), None)
    if given is None:
        return None
    if not isinstance(given, str) or not given.strip() or len(given) > MAX_KEY:
        raise BadRequestError(f"{IDEMPOTENCY_KEY} must be a text of 1 to {MAX_KEY} characters, not {str(given)[:40]!r}")
    return given


def _client_headers(arguments: Mapping[str, Any]) -> dict[str, str]:
    client = arguments.get(FROM_PROXY)
    headers = client.get("headers") if isinstance(client, Mapping) else None
    return {str(name).lower(): str(value) for name, value in headers.items()} if isinstance(headers, Mapping) else {}


def _caller(arguments: Mapping[str, Any]) -> list[str]:
    """The virtual key's hash in each of the places where a proxy may write it; without one, the user and the team.

    The proxy fills one of the two, depending on the route, and a client may fill the other. So both count, each in its
    place: nobody can take the place of another caller by writing that caller's hash into a request.
    """
    if FROM_PROXY not in arguments:
        return []
    places = [arguments.get(name) for name in _METADATA]
    return [_named(place) if isinstance(place, Mapping) else "" for place in places]


def _named(place: Mapping[str, Any]) -> str:
    if place.get(_CALLER):
        return str(place[_CALLER])
    person = [str(place.get(name) or "") for name in _PERSON]
    return json.dumps(person) if any(person) else ""


def _without_model(asked: ImageRequest) -> Any:
    fields = asked.model_dump(mode="json", exclude={"references", "model"}, exclude_none=True)
    return [fields, [_reference(each) for each in asked.references]]


def _reference(reference: Any) -> str:
    if isinstance(reference, (bytes, bytearray, memoryview)):
        return hashlib.sha256(reference).hexdigest()
    return str(reference)


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:32]


def _plain(name: str) -> str:
    """A name of the caller's as a part of a key: it can't hold the separator, and has a limited length."""
    quoted = quote(name, safe="")
    return quoted if len(quoted) <= _LONGEST_PLAIN_NAME else f"sha256:{hashlib.sha256(name.encode()).hexdigest()}"


def _count(value: str | None) -> int:
    return int(value) if value is not None and value.isascii() and value.isdigit() and len(value) < 6 else 0


def _is_router_retry(arguments: Mapping[str, Any]) -> bool:
    metadata = _router_metadata(arguments)
    return any(
        (arguments.get("fallback_depth"), metadata.get("attempted_retries"), metadata.get("attempted_fallbacks"))
    )


def _failed_attempts(arguments: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    attempts = _router_metadata(arguments).get(_FAILED_ATTEMPTS) or ()
    return [attempt for attempt in attempts if isinstance(attempt, Mapping)]


def _router_metadata(arguments: Mapping[str, Any]) -> Mapping[str, Any]:
    """Where a Router keeps its notes about this request: in one of two places, depending on LiteLLM's function."""
    for name in _METADATA:
        metadata = arguments.get(name)
        if isinstance(metadata, Mapping) and _FAILED_ATTEMPTS in metadata:
            return metadata
    found = arguments.get(_METADATA[1]) or arguments.get(_METADATA[0])
    return found if isinstance(found, Mapping) else {}
