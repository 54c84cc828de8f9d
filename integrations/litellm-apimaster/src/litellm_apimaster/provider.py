"""The provider: LiteLLM's four image calls and its chat calls, mapped on the core's client.

Every call takes the same way: its arguments (``call_arguments``), what they ask for (``call``, ``params``, ``chat``),
a client (``clients``), the core's ``generate``, and back as LiteLLM's response (``responses``) or error (``errors``).
The plain method that LiteLLM calls, in a thread of LiteLLM's own and with LiteLLM's frames on the stack, works out
what to ask for. Only what waits is in a coroutine.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import contextmanager
from decimal import Decimal
from functools import partial
from typing import Any, Final

from litellm.llms.custom_llm import CustomLLM

from apimaster import APIMaster, AsyncAPIMaster, GeneratedImage, ImageResult, Progress
from apimaster.errors import APIMasterError

from . import chat, errors, responses
from .background import run_shielded
from .call import Call, chat_call, edit_call, image_call
from .clients import ClientCache
from .failure_spend import FailedCall, register_failure_booking
from .log_redaction import register_log_redaction
from .prices import register_prices, set_response_cost
from .purchases import Plan, plan_purchase
from .response_cache import tell_parameters_apart
from .response_headers import register_headers
from .responses import Bought, ImageContent

_log = logging.getLogger("litellm_apimaster")

RETRY_VARIABLE: Final = "APIMASTER_RETRY_UNKNOWN_OUTCOMES"
_BOUGHT: Final = "purchase %s: LiteLLM call %s, task %s"
_JOINED: Final = "purchase %s: joined by LiteLLM call %s, task %s"
_ON: Final = frozenset({"1", "true", "yes", "on"})


class APIMasterLLM(CustomLLM):
    """LiteLLM's provider ``apimaster``.

    Args:
        retry_unknown_outcomes: let LiteLLM retry a call whose outcome is unknown, as it retries a timeout or a 500.
            Each retry may be a further charge for one image. None: the environment variable
            ``APIMASTER_RETRY_UNKNOWN_OUTCOMES``, off unless it is ``1``, ``true``, ``yes`` or ``on``.
    """

    def __init__(self, *, retry_unknown_outcomes: bool | None = None) -> None:
        super().__init__()
        self.retry_unknown_outcomes = retry_unknown_outcomes
        self.clients = ClientCache()
        # A proxy calls nothing but the constructor before its first request.
        register_prices()
        tell_parameters_apart()

    # LiteLLM passes everything by name, and more of it with every version: hence ``**kwargs``.

    def image_generation(self, **kwargs: Any) -> Any:  # type: ignore[override]
        """Make images: ``litellm.image_generation``."""
        return self._images(image_call(kwargs), kwargs["model_response"])

    def aimage_generation(self, **kwargs: Any) -> Coroutine[Any, Any, Any]:  # type: ignore[override]
        """Make images: ``litellm.aimage_generation``, which calls this in a thread and awaits the rest on the loop."""
        return self._aimages(image_call(kwargs), kwargs["model_response"])

    def image_edit(self, **kwargs: Any) -> Any:  # type: ignore[override]
        """Make images from images: ``litellm.image_edit``."""
        return self._images(edit_call(kwargs), kwargs["model_response"])

    def aimage_edit(self, **kwargs: Any) -> Coroutine[Any, Any, Any]:  # type: ignore[override]
        """Make images from images: ``litellm.aimage_edit``, in the same way."""
        return self._aimages(edit_call(kwargs), kwargs["model_response"])

    def completion(self, **kwargs: Any) -> Any:  # type: ignore[override]
        """Answer a conversation with an image: ``litellm.completion``."""
        call = chat_call(kwargs)
        if call.request is None:
            return self._check(call, kwargs["model_response"])
        return self._chat(call, partial(chat.chat_response, kwargs["model_response"]))

    def acompletion(self, **kwargs: Any) -> Coroutine[Any, Any, Any]:  # type: ignore[override]
        """Answer a conversation with an image: ``litellm.acompletion``."""
        call = chat_call(kwargs)
        if call.request is None:
            return self._acheck(call, kwargs["model_response"])
        return self._achat(call, partial(chat.chat_response, kwargs["model_response"]))

    def streaming(self, **kwargs: Any) -> Iterator[Any]:  # type: ignore[override]
        """The same, as a stream of one chunk."""
        return self._stream(chat_call(kwargs))

    def astreaming(self, **kwargs: Any) -> AsyncIterator[Any]:  # type: ignore[override]
        """The same, as a stream of one chunk."""
        return self._astream(chat_call(kwargs))

    def close(self) -> None:
        """Close the clients of blocking calls. A client that a call still uses is closed when that call ends."""
        self.clients.close()

    async def aclose(self) -> None:
        """Close the clients of asyncio calls, on all event loops, in the same way.

        When an event loop ends, its connections are closed without this.
        """
        await self.clients.aclose()

    def _images(self, call: Call, response: Any) -> Any:
        if call.request is None:
            return self._check(call, response)
        return self._answer(call, partial(responses.image_response, response), inline=call.inline)

    async def _aimages(self, call: Call, response: Any) -> Any:
        if call.request is None:
            return await self._acheck(call, response)
        return await self._aanswer(call, partial(responses.image_response, response), inline=call.inline)

    def _chat(self, call: Call, fill: Callable[[Bought], Any]) -> Any:
        return self._answer(call, fill, inline=True, every=True)

    async def _achat(self, call: Call, fill: Callable[[Bought], Any]) -> Any:
        return await self._aanswer(call, fill, inline=True, every=True)

    def _answer(self, call: Call, fill: Callable[[Bought], Any], *, inline: bool, every: bool = False) -> Any:
        call.log_request()
        failed = FailedCall(call)
        with self._guarded(call, failed):
            plan = self._plan(call)
            try:
                bought = self._buy(call, plan, inline=inline, every=every)
            except Exception as error:
                failed.report(plan, error)
                raise
            with _handing_on(bought):
                response = fill(bought)
                responses.report_cost(response, bought.report.cost())
                return response

    async def _aanswer(self, call: Call, fill: Callable[[Bought], Any], *, inline: bool, every: bool = False) -> Any:
        call.log_request()
        failed = FailedCall(call)
        with self._guarded(call, failed):
            plan = await asyncio.to_thread(self._plan, call)  # it reads the ledger
            try:
                bought = await self._abuy(call, plan, inline=inline, every=every)
            except Exception as error:
                with _unless_stopped(failed):
                    await asyncio.to_thread(failed.report, plan, error)
                raise
            with _handing_on(bought):
                # Encoding megabytes as base64 would block the loop.
                response = await asyncio.to_thread(fill, bought) if any(bought.contents) else fill(bought)
                responses.report_cost(response, await asyncio.to_thread(bought.report.cost))
                return response

    # ``every``: a conversation can't hold a URL that expires, so one image without its bytes fails the whole call.

    def _buy(self, call: Call, plan: Plan, *, inline: bool, every: bool = False) -> Bought:
        with self.clients.blocking_client(call.account) as client:
            result, contents = _generate(_client_for(call, plan, client), call, plan, inline=inline)
        call.log_response(responses.log_entry(result))
        responses.check_contents(contents, every=every)
        return plan.bought(result, contents)

    async def _abuy(self, call: Call, plan: Plan, *, inline: bool, every: bool = False) -> Bought:
        result, contents = await run_shielded(self._abuy_planned(call, plan, inline), on_leave=plan.caller_left)
        call.log_response(responses.log_entry(result))
        responses.check_contents(contents, every=every)
        return plan.bought(result, contents)

    async def _abuy_planned(self, call: Call, plan: Plan, inline: bool) -> tuple[ImageResult, list[ImageContent]]:
        async with self.clients.asyncio_client(call.account) as client:
            return await _agenerate(_client_for(call, plan, client), call, plan, inline=inline)

    def _plan(self, call: Call) -> Plan:
        # A proxy reads its configuration, which may name callbacks, after it has made the provider.
        register_headers()
        register_log_redaction()
        register_failure_booking(call.arguments)
        assert call.request is not None  # only a health check has none, and it buys nothing
        assert call.identity is not None
        return plan_purchase(call.request, call.identity, buy_again=self._retries_unknown())

    # LiteLLM reports the cost of a stream when it has been read to its end.

    def _stream(self, call: Call) -> Iterator[Any]:
        got: list[Bought] = []
        chunk = self._chat(call, partial(_chunk_of, got))
        with _handing_on(*got):
            yield chunk

    async def _astream(self, call: Call) -> AsyncIterator[Any]:
        got: list[Bought] = []
        chunk = await self._achat(call, partial(_chunk_of, got))
        with _handing_on(*got):
            yield chunk

    def _check(self, call: Call, response: Any) -> Any:
        with self._guarded(call), self.clients.blocking_client(call.account) as client:
            call.with_options(client).models()
        return _health_check_response(response)

    async def _acheck(self, call: Call, response: Any) -> Any:
        with self._guarded(call):
            async with self.clients.asyncio_client(call.account) as client:
                await call.with_options(client).models()
        return _health_check_response(response)

    @contextmanager
    def _guarded(self, call: Call, failed: FailedCall | None = None) -> Iterator[None]:
        """Turn every error into one of LiteLLM's; ``failed``: the call buys."""
        retry = self._retries_unknown()
        try:
            yield
        except APIMasterError as error:
            made = errors.to_litellm(error, model=call.model, retry_unknown=retry)
            if failed is not None:
                failed.hand_to(made)
            raise made from error
        except Exception as bug:
            if failed is None:
                raise
            made = errors.to_litellm(errors.unexpected(bug), model=call.model, retry_unknown=False)
            failed.hand_to(made)
            raise made from bug

    def _retries_unknown(self) -> bool:
        if self.retry_unknown_outcomes is not None:
            return self.retry_unknown_outcomes
        return os.environ.get(RETRY_VARIABLE, "").strip().lower() in _ON


@contextmanager
def _handing_on(*bought: Bought) -> Iterator[None]:
    """Leave the report of the cost to another call if this one is stopped in its last step."""
    try:
        yield
    except BaseException:
        for each in bought:
            each.report.give_up()
        raise


def _chunk_of(got: list[Bought], bought: Bought) -> Any:
    got.append(bought)
    return chat.stream_chunk(bought)


@contextmanager
def _unless_stopped(failed: FailedCall) -> Iterator[None]:
    """Leave the report to another call if this one is cancelled before its failure is known."""
    try:
        yield
    except BaseException:
        failed.give_up()
        raise


def _client_for(call: Call, plan: Plan, client: Any) -> Any:
    return call.with_options(client, ledger=plan.ledger, purchase_alias=plan.alias, purchase_asked=plan.asked)


def _generate(client: APIMaster, call: Call, plan: Plan, *, inline: bool) -> tuple[ImageResult, list[ImageContent]]:
    result = client.generate(
        plan.request, timeout=call.timeout, idempotency_key=plan.key, on_progress=_task_logger(plan)
    )
    return result, [_read(client, image) if _needs_bytes(image, inline) else None for image in result.images]


async def _agenerate(
    client: AsyncAPIMaster, call: Call, plan: Plan, *, inline: bool
) -> tuple[ImageResult, list[ImageContent]]:
    result = await client.generate(
        plan.request, timeout=call.timeout, idempotency_key=plan.key, on_progress=_task_logger(plan)
    )
    if not any(_needs_bytes(image, inline) for image in result.images):
        return result, [None] * len(result.images)
    reads = [_aread(client, image) if _needs_bytes(image, inline) else _nothing() for image in result.images]
    return result, list(await asyncio.gather(*reads))


def _task_logger(plan: Plan) -> Callable[[Progress], None]:
    """A listener that logs one line per image, as soon as there is a task: it joins LiteLLM's id and the gateway's.

    The call that buys writes it. One that joins writes another line, so that nobody counts it for a purchase.
    """
    logged: set[str] = set()

    def log(progress: Progress) -> None:
        task = progress.task
        if task is None or not task.id or task.id in logged:
            return
        logged.add(task.id)
        _log.info(_JOINED if progress.joined else _BOUGHT, plan.key, plan.call_id, task.id)

    return log


def _read(client: APIMaster, image: GeneratedImage) -> ImageContent:
    try:
        return client.read(image)
    except APIMasterError as error:
        return error


async def _aread(client: AsyncAPIMaster, image: GeneratedImage) -> ImageContent:
    try:
        return await client.read(image)
    except APIMasterError as error:
        return error


async def _nothing() -> ImageContent:
    return None


def _needs_bytes(image: GeneratedImage, inline: bool) -> bool:
    """Whether the caller asked for the bytes, or there is no URL to give instead."""
    return inline or image.url is None


def _health_check_response(response: Any) -> Any:
    set_response_cost(response, Decimal(0))
    return response
