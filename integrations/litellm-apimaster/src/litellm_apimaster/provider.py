"""The provider: LiteLLM's four image calls and its chat calls, mapped on the core's client.

Every call goes the same way: what was said (``call``), what is wanted (``jobs``, ``params``, ``chat``), with which
client (``clients``), the core's ``generate``, and back as LiteLLM's answer (``answers``) or error (``errors``). What
is wanted is worked out in the plain method that LiteLLM calls, in its own thread and with its frames on the stack;
only what waits is in a coroutine.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Any, Final

from litellm.llms.custom_llm import CustomLLM

from apimaster import APIMaster, AsyncAPIMaster, GeneratedImage, ImageRequest, ImageResult
from apimaster.errors import APIMasterError

from . import answers, chat, errors
from .answers import Fetched
from .clients import Clients
from .jobs import Job, chat_job, image_job
from .prices import register_prices, stamp
from .repeats import Repeats

RETRY_VARIABLE: Final = "APIMASTER_RETRY_UNKNOWN_OUTCOMES"
_ON: Final = frozenset({"1", "true", "yes", "on"})


class APIMasterLLM(CustomLLM):
    """LiteLLM's provider ``apimaster``.

    Args:
        retry_unknown_outcomes: let LiteLLM repeat a call whose outcome nobody knows, as it would repeat a timeout or
            a 500. Each repeat may be a further charge for one picture. None: the environment variable
            ``APIMASTER_RETRY_UNKNOWN_OUTCOMES``, off unless it is ``1``, ``true``, ``yes`` or ``on``.
    """

    def __init__(self, *, retry_unknown_outcomes: bool | None = None) -> None:
        super().__init__()
        self.retry_unknown_outcomes = retry_unknown_outcomes
        self.clients = Clients()
        self._repeats = Repeats()
        register_prices()

    # LiteLLM hands everything over by name, and more of it with every version: hence ``**handed``.

    def image_generation(self, **handed: Any) -> Any:  # type: ignore[override]
        """Make images: ``litellm.image_generation``."""
        return self._images(image_job(handed), handed["model_response"])

    def aimage_generation(self, **handed: Any) -> Coroutine[Any, Any, Any]:  # type: ignore[override]
        """Make images: ``litellm.aimage_generation``, which calls this in a thread and awaits the rest on the loop."""
        return self._aimages(image_job(handed), handed["model_response"])

    def image_edit(self, **handed: Any) -> Any:  # type: ignore[override]
        """Make images from images: ``litellm.image_edit``."""
        return self._images(image_job(handed), handed["model_response"])

    def aimage_edit(self, **handed: Any) -> Coroutine[Any, Any, Any]:  # type: ignore[override]
        """Make images from images: ``litellm.aimage_edit``, in the same way."""
        return self._aimages(image_job(handed), handed["model_response"])

    def completion(self, **handed: Any) -> Any:  # type: ignore[override]
        """Answer a conversation with a picture: ``litellm.completion``."""
        job = chat_job(handed)
        if job.request is None:
            return self._check(job, handed["model_response"])
        return chat.message(handed["model_response"], *self._pictures(job))

    def acompletion(self, **handed: Any) -> Coroutine[Any, Any, Any]:  # type: ignore[override]
        """Answer a conversation with a picture: ``litellm.acompletion``."""
        return self._achat(chat_job(handed), handed["model_response"])

    def streaming(self, **handed: Any) -> Iterator[Any]:  # type: ignore[override]
        """The same, as a stream of one piece."""
        return self._stream(chat_job(handed))

    def astreaming(self, **handed: Any) -> AsyncIterator[Any]:  # type: ignore[override]
        """The same, as a stream of one piece."""
        return self._astream(chat_job(handed))

    def close(self) -> None:
        """Close the clients of blocking calls. Those of an event loop are closed when it ends."""
        self.clients.close()

    async def aclose(self) -> None:
        """Close the clients of the running event loop."""
        await self.clients.aclose()

    def _images(self, job: Job, answer: Any) -> Any:
        if job.request is None:
            return self._check(job, answer)
        job.announce()
        with self._guarded(job), self.clients.blocking(job.account) as client:
            result, fetched = _generate(job.tuned(client), job, inline=job.inline)
            job.report(answers.summary(result))
            return answers.image_response(answer, result, fetched)

    async def _aimages(self, job: Job, answer: Any) -> Any:
        if job.request is None:
            return await self._acheck(job, answer)
        job.announce()
        with self._guarded(job):
            async with self.clients.running(job.account) as client:
                result, fetched = await _agenerate(job.tuned(client), job, inline=job.inline)
            job.report(answers.summary(result))
            if any(fetched):
                # Base64 of some megabytes takes its time.
                return await asyncio.to_thread(answers.image_response, answer, result, fetched)
            return answers.image_response(answer, result, fetched)

    def _pictures(self, job: Job) -> tuple[ImageResult, list[bytes]]:
        job.announce()
        with self._guarded(job), self.clients.blocking(job.account) as client:
            result, fetched = _generate(job.tuned(client), job, inline=True)
            job.report(answers.summary(result))
            return result, answers.all_or_none(fetched)

    async def _apictures(self, job: Job) -> tuple[ImageResult, list[bytes]]:
        job.announce()
        with self._guarded(job):
            async with self.clients.running(job.account) as client:
                result, fetched = await _agenerate(job.tuned(client), job, inline=True)
            job.report(answers.summary(result))
            return result, answers.all_or_none(fetched)

    async def _achat(self, job: Job, answer: Any) -> Any:
        if job.request is None:
            return await self._acheck(job, answer)
        return await asyncio.to_thread(chat.message, answer, *await self._apictures(job))

    def _stream(self, job: Job) -> Iterator[Any]:
        yield chat.chunk(*self._pictures(job))

    async def _astream(self, job: Job) -> AsyncIterator[Any]:
        yield await asyncio.to_thread(chat.chunk, *await self._apictures(job))

    def _check(self, job: Job, answer: Any) -> Any:
        with self._guarded(job, buys=False), self.clients.blocking(job.account) as client:
            job.tuned(client).models()
        return _healthy(answer)

    async def _acheck(self, job: Job, answer: Any) -> Any:
        with self._guarded(job, buys=False):
            async with self.clients.running(job.account) as client:
                await job.tuned(client).models()
        return _healthy(answer)

    @contextmanager
    def _guarded(self, job: Job, *, buys: bool = True) -> Iterator[None]:
        """Nothing is bought twice for one request, and every error that leaves is LiteLLM's own."""
        retry = self._retries_unknown()
        earlier = None if retry or not buys else self._repeats.earlier(job.arguments, errors.UNKNOWN_OUTCOMES)
        if earlier is not None:
            raise errors.refused(earlier, model=job.model)
        try:
            yield
        except APIMasterError as error:
            if error.billed != "no":
                self._repeats.remember(job.arguments, errors.message(error))
            raise errors.translated(error, model=job.model, retry_unknown=retry) from error
        except Exception as bug:
            if not buys:
                raise
            self._repeats.remember(job.arguments, str(bug))
            raise errors.unexpected(bug, model=job.model) from bug

    def _retries_unknown(self) -> bool:
        if self.retry_unknown_outcomes is not None:
            return self.retry_unknown_outcomes
        return os.environ.get(RETRY_VARIABLE, "").strip().lower() in _ON


def _generate(client: APIMaster, job: Job, *, inline: bool) -> tuple[ImageResult, list[Fetched]]:
    result = client.generate(_wanted(job), timeout=job.timeout)
    return result, [_read(client, image) if _needs_bytes(image, inline) else None for image in result.images]


async def _agenerate(client: AsyncAPIMaster, job: Job, *, inline: bool) -> tuple[ImageResult, list[Fetched]]:
    result = await client.generate(_wanted(job), timeout=job.timeout)
    if not any(_needs_bytes(image, inline) for image in result.images):
        return result, [None] * len(result.images)
    reads = [_aread(client, image) if _needs_bytes(image, inline) else _nothing() for image in result.images]
    return result, list(await asyncio.gather(*reads))


def _read(client: APIMaster, image: GeneratedImage) -> Fetched:
    try:
        return client.read(image)
    except APIMasterError as error:
        return error


async def _aread(client: AsyncAPIMaster, image: GeneratedImage) -> Fetched:
    try:
        return await client.read(image)
    except APIMasterError as error:
        return error


async def _nothing() -> Fetched:
    return None


def _needs_bytes(image: GeneratedImage, inline: bool) -> bool:
    """They were asked for, or there is no URL to give instead."""
    return inline or image.url is None


def _wanted(job: Job) -> ImageRequest:
    assert job.request is not None  # only a health check has none, and it does not come here
    return job.request


def _healthy(answer: Any) -> Any:
    stamp(answer, Decimal(0))
    return answer
