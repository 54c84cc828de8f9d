"""What a Router's deployment sets by default, and what the caller set: LiteLLM hands both over mixed.

It merges by name, the call's value over the deployment's. That is right until two names mean one thing (``size`` of
the call and ``aspect_ratio`` of the deployment) or one of them sits in ``extra_body``: then the deployment's own
parameters have to be known, to put the call over them.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import litellm

MODEL_INFO: Final = "model_info"
EXTRA_BODY: Final = "extra_body"
_PROXY_MODULE: Final = "litellm.proxy.proxy_server"


def own_parameters(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The ``litellm_params`` of the deployment that a Router chose for this call; empty without a Router."""
    identity = (arguments.get(MODEL_INFO) or {}).get("id")
    if identity is None:
        return {}
    for router in _routers():
        deployment = _deployment(router, identity)
        if deployment is not None:
            return dict(deployment.litellm_params.model_dump(exclude_none=True))
    return {}


def _deployment(router: Any, identity: str) -> Any:
    registry = getattr(router, "registry", None)  # LiteLLM 1.109 wants to be asked there
    return registry().deployment(identity) if callable(registry) else router.get_deployment(model_id=identity)


def _routers() -> Iterator[Any]:
    """The Routers of this process: nothing that a handler is given points to its own."""
    owners = [getattr(sys.modules.get(_PROXY_MODULE), "llm_router", None)]
    # A Router makes itself known by its callbacks.
    owners += [
        getattr(each, "__self__", None) for each in (*litellm._async_success_callback, *litellm.success_callback)
    ]
    yield from (owner for owner in owners if hasattr(owner, "registry") or hasattr(owner, "get_deployment"))


@dataclass(frozen=True, slots=True)
class Layer:
    """What one party set: as arguments, and in ``extra_body``, which is the stronger of the two."""

    arguments: Mapping[str, Any]
    body: Mapping[str, Any]

    @property
    def merged(self) -> dict[str, Any]:
        """Both in one."""
        return {**self.arguments, **self.body}


def layers(arguments: Mapping[str, Any], synonyms: frozenset[str]) -> list[Layer]:
    """The arguments in layers, the stronger one last: the deployment's, where it matters, and the call's.

    ``synonyms`` are names of which two may mean one thing.
    """
    top = {name: value for name, value in arguments.items() if value is not None and name != EXTRA_BODY}
    body = _body(arguments)
    if not arguments.get(MODEL_INFO) or not (body or len(synonyms & top.keys()) > 1):
        return [Layer(top, body)]
    own = own_parameters(arguments)
    own_body = _body(own)
    own.pop(EXTRA_BODY, None)
    by_the_call = {name: value for name, value in top.items() if own.get(name) != value}
    return [Layer(own, own_body), Layer(by_the_call, {} if body == own_body else body)]


def _body(arguments: Mapping[str, Any]) -> dict[str, Any]:
    body = arguments.get(EXTRA_BODY)
    return dict(body) if isinstance(body, Mapping) else {}
