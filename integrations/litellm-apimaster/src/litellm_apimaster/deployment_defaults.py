"""Which parameters a Router's deployment sets by default, and which the caller set.

LiteLLM merges both by name and lets the call win. That is right until two names mean one thing (``size`` of the call
and ``aspect_ratio`` of the deployment), one of them is in ``extra_body``, or the call's is empty and asks for nothing.
So this package looks up the deployment's own parameters, to let the call win there too.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, Final

import litellm

from .call_arguments import FROM_PROXY, litellm_version
from .parameter_values import is_nothing

_log = logging.getLogger("litellm_apimaster")

EXTRA_BODY: Final = "extra_body"
_MODEL_INFO: Final = "model_info"
_PROXY_MODULE: Final = "litellm.proxy.proxy_server"
_LIVE_ROUTERS_MODULE: Final = "litellm.router_utils.global_callback_holders"


@dataclass(frozen=True, slots=True)
class ParameterSource:
    """What either the deployment or the caller set. A value in ``extra_body`` wins over an argument."""

    arguments: Mapping[str, Any]
    extra_body: Mapping[str, Any]

    @property
    def merged(self) -> dict[str, Any]:
        """Arguments and ``extra_body`` in one."""
        of_body = {n: value for n, value in self.extra_body.items() if n not in self.arguments or not is_nothing(value)}
        return {**self.arguments, **of_body}


def parameter_sources(arguments: Mapping[str, Any]) -> list[ParameterSource]:
    """The deployment's parameters, under a Router, and then the call's, which win.

    A parameter that both set alike counts as the deployment's, unless a client of a proxy has sent it.

    Args:
        arguments: of the call, with the deployment's merged in.
    """
    named = {name: value for name, value in arguments.items() if value is not None and name != EXTRA_BODY}
    extra_body = _extra_body(arguments)
    if not arguments.get(_MODEL_INFO):
        return [ParameterSource(named, extra_body)]
    defaults = _deployment_parameters(arguments)
    default_extra_body = _extra_body(defaults)
    defaults.pop(EXTRA_BODY, None)
    sent = _sent_names(arguments) or ()
    by_the_call = {name: value for name, value in named.items() if name in sent or defaults.get(name) != value}
    return [
        ParameterSource(defaults, default_extra_body),
        ParameterSource(by_the_call, {} if extra_body == default_extra_body else extra_body),
    ]


def arguments_of_caller(arguments: Mapping[str, Any], *, is_parameter: Callable[[str], bool]) -> dict[str, Any]:
    """The arguments without those parameters that only the deployment set.

    A proxy keeps what its client sent. Elsewhere, a parameter that the caller and a deployment of the Router set alike
    counts as the deployment's, whichever deployment this is: all attempts must come to the same.
    """
    sent = _sent_names(arguments)
    if sent is not None:
        own = {name: value for name, value in arguments.items() if name in sent or not is_parameter(name)}
    elif arguments.get(_MODEL_INFO):
        deployments = _parameters_of_all(arguments)
        own = {
            name: value
            for name, value in arguments.items()
            if not (is_parameter(name) and any(name in each and each[name] == value for each in deployments))
        }
    else:
        own = dict(arguments)
    own.pop(_MODEL_INFO, None)  # so that nobody adds the deployment's parameters again
    return own


def _sent_names(arguments: Mapping[str, Any]) -> set[str] | None:
    """Which parameters a client of a proxy has sent; None: there is no such client."""
    client = arguments.get(FROM_PROXY)
    body = client.get("body") if isinstance(client, Mapping) else None
    return {str(name).partition("[")[0] for name in body} if isinstance(body, Mapping) else None


def _extra_body(arguments: Mapping[str, Any]) -> dict[str, Any]:
    extra_body = arguments.get(EXTRA_BODY)
    return dict(extra_body) if isinstance(extra_body, Mapping) else {}


def _deployment_parameters(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The ``litellm_params`` of the deployment that a Router chose for this call; empty without a Router.

    The Router's own ``default_litellm_params`` are among them, and win, as when LiteLLM merges the two.
    """
    model_id = (arguments.get(_MODEL_INFO) or {}).get("id")
    if model_id is None:
        return {}
    for router in _routers():
        deployment = _deployment(router, model_id)
        if deployment is not None:
            of_router = getattr(router, "default_litellm_params", None) or {}
            return {**deployment.litellm_params.model_dump(exclude_none=True), **of_router}
    _log.warning(
        "LiteLLM %s does not keep its Routers where this package knows to look. A default of the deployment may win "
        "over the call's own parameter if the two have different names (size, aspect_ratio), or one of them is in "
        "extra_body. Please report this version.",
        litellm_version(),
    )
    return {}


def _parameters_of_all(arguments: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The ``litellm_params`` of all deployments of the Routers that have the one of this call.

    Two Routers with an equal deployment give it the same id, and nothing tells which of them makes the call.
    """
    model_id = (arguments.get(_MODEL_INFO) or {}).get("id")
    found: list[Mapping[str, Any]] = [_deployment_parameters(arguments)]
    for router in _routers():
        if model_id is not None and _deployment(router, model_id) is not None:
            found += [each["litellm_params"] for each in _deployments(router)]
    return found


def _deployments(router: Any) -> Iterable[Mapping[str, Any]]:
    registry = getattr(router, "registry", None)  # since LiteLLM 1.109
    listed: Iterable[Mapping[str, Any]] = registry().all() if callable(registry) else router.model_list
    return listed


def _deployment(router: Any, model_id: str) -> Any:
    registry = getattr(router, "registry", None)  # since LiteLLM 1.109
    return registry().deployment(model_id) if callable(registry) else router.get_deployment(model_id=model_id)


def _routers() -> Iterator[Any]:
    """The Routers of this process, from the places where LiteLLM keeps them.

    There is no other way to learn what the deployment said. A Router merges the deployment's ``litellm_params`` and the
    call into one dictionary before it calls LiteLLM's function. It hands on the deployment's id, and neither its
    parameters nor a reference to itself. The hooks that see both apart (``async_filter_deployments``) do not run for
    blocking calls. If no place has the Router, a warning says so, and tests run with the newest version.
    """
    owners = [getattr(sys.modules.get(_PROXY_MODULE), "llm_router", None)]
    owners += _live_routers()
    # Before 1.110 every Router registers methods of its own as callbacks.
    owners += [
        getattr(each, "__self__", None) for each in (*litellm._async_success_callback, *litellm.success_callback)
    ]
    yield from (owner for owner in owners if hasattr(owner, "registry") or hasattr(owner, "get_deployment"))


def _live_routers() -> list[Any]:
    """The Routers that LiteLLM keeps a weak set of, since 1.110."""
    module = sys.modules.get(_LIVE_ROUTERS_MODULE)
    routers = getattr(module, "routers_holding_global_callbacks", None)
    if routers is None:
        return []
    with getattr(module, "routers_holding_global_callbacks_lock", None) or nullcontext():
        return list(routers)
