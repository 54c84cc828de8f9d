"""The blocking client. Each method checks its arguments, starts a flow, and passes it to the driver."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ._base_client import BaseClient
from ._drivers.sync import SyncDriver
from ._flows import account, download, generation, uploads
from .account import Account, Charges
from .catalog import DEFAULT_MODEL, AspectRatio, Resolution
from .errors import BadRequestError
from .request import ImageRequest, Mode, ReferenceLike, ReferencesBy, RegisteredEndpoint, Webhook
from .results import GeneratedImage, ImageResult, OnProgress, Task

if TYPE_CHECKING:
    from datetime import datetime, timedelta
    from types import TracebackType

    import httpx
    from pydantic import SecretStr
    from typing_extensions import Self

    from .async_client import AsyncAPIMaster
    from .ledger import Ledger, Settlement
    from .pricing import PriceList
    from .webhooks import Webhooks, WebhookWaiter


class APIMaster(BaseClient):
    """A blocking client for the APIMaster image endpoint. Many threads can share one.

    Args:
        api_key: the key; None: ``APIMASTER_API_KEY``, ``APIMASTER_KEY``, or ``~/.apimaster/config.json``.
        base_url: the gateway's, with its ``/v1``; None: ``APIMASTER_BASE_URL``, the same file, or the vendor's URL.
        model: the model id for calls that name none.
        timeout: seconds for a whole call, waiting included, for calls that name none. None: by resolution,
            300 for 0.5K and 1K, 600 for 2K, 1200 for 4K.
        max_retries: retries of one request after a fault that provably cost nothing.
        http_client: an ``httpx.Client`` of your own (proxies, certificates, tests); this client does not close it.
        max_polls_per_second: for all tasks of this client together: polls are free, but others use the gateway too.
        ledger: a ``Ledger``, or the path or URL of one, in which each purchase is written before its request goes out;
            None: ``APIMASTER_LEDGER``, else none. See docs/ledger.md.
        webhook_waiter: a ``WebhookWaiter`` that takes the gateway's webhooks: calls wait for these, and poll rarely.
            See docs/webhooks.md.
        references_by: how local reference images go out: ``"auto"`` inside the request while it stays below the
            gateway's limit, otherwise uploaded before it; ``"inline"`` always inside; ``"upload"`` always uploaded.
            Public URLs go out as they are.

    Raises:
        AuthenticationError: there is no key.
        BadRequestError: an argument is not accepted, such as a base URL that is not a URL.
    """

    def __init__(
        self,
        api_key: str | SecretStr | None = None,
        *,
        base_url: str | None = None,
        model: str = DEFAULT_MODEL,
        timeout: float | None = None,
        max_retries: int = 3,
        http_client: httpx.Client | None = None,
        max_polls_per_second: float | None = None,
        ledger: Ledger | str | os.PathLike[str] | None = None,
        webhook_waiter: WebhookWaiter | None = None,
        references_by: ReferencesBy = "auto",
    ) -> None:
        super().__init__(
            api_key,
            base_url,
            model,
            timeout,
            max_retries,
            max_polls_per_second,
            ledger,
            webhook_waiter,
            references_by,
        )
        self._driver = SyncDriver(self._codec, http_client)

    def generate(
        self,
        prompt: str | ImageRequest,
        *,
        model: str | None = None,
        aspect_ratio: AspectRatio | str | None = None,
        resolution: Resolution | None = None,
        n: int | None = None,
        references: Sequence[ReferenceLike] | None = None,
        mask: ReferenceLike | None = None,
        google_search: bool | None = None,
        google_image_search: bool | None = None,
        mode: Mode = "auto",
        save_to: str | os.PathLike[str] | None = None,
        client_reference_id: str | None = None,
        webhook: str | Webhook | RegisteredEndpoint | None = None,
        extra_body: dict[str, Any] | None = None,
        timeout: float | None = None,
        on_progress: OnProgress | None = None,
        idempotency_key: str | None = None,
        budget: str | None = None,
        references_by: ReferencesBy | None = None,
    ) -> ImageResult:
        """Make ``n`` images and wait for them.

        Args:
            prompt: what to draw; must not be empty. The gateway moderates it. Or a whole ``ImageRequest``, of which the
                other arguments change parts.
            model: a model id, or an alias such as ``nano-banana-2``; None: the client's model. An id that this version
                does not know is accepted, without a price.
            aspect_ratio: ``"auto"`` (the model chooses), ``"1:1"``, ``"2:3"``, ``"3:2"``, ``"3:4"``, ``"4:3"``,
                ``"4:5"``, ``"5:4"``, ``"9:16"``, ``"16:9"``, ``"21:9"``, ``"1:4"``, ``"4:1"``, ``"1:8"``, ``"8:1"``, or
                a size in pixels such as ``"1920x1080"``, which stands for the nearest ratio and the smallest resolution
                that covers it. None: the gateway chooses.
            resolution: ``"0.5K"``, ``"1K"``, ``"2K"`` or ``"4K"``; it decides the price. None: the gateway's default,
                1K.
            n: how many images, 1 to 100; None: one. Each has a task and a charge of its own.
            references: reference images, at most 14 (16 for ``gpt-image-2``): paths, bytes, binary files, PIL images,
                public http(s) URLs or data URIs; JPEG, PNG or WebP, at most 10 MB each.
            mask: a picture of the same kinds and size limit that marks what to change in the first reference image, and
                has its pixels; only for models that take one (``gpt-image-2``).
            google_search: True grounds the picture in a Google search.
            google_image_search: True grounds it in a Google image search.
            mode: ``"auto"`` submits and polls, or makes one shot if the gateway has no async route; ``"sync"`` makes
                one shot; ``"async"`` submits and polls only.
            save_to: a folder, a file, or an fsspec URL. The file's ending follows the picture's bytes, and no file of
                another picture is overwritten. None: nothing is downloaded.
            client_reference_id: your own reference, which the webhook repeats.
            webhook: the id of a verified webhook endpoint (``client.webhooks``), a ``WebhookEndpoint`` (its id), or a
                ``Webhook`` with its events.
                None: the endpoint of the client's ``webhook_waiter``, if that names one.
            extra_body: further fields of the request body, sent as they are; fields that have an argument are refused.
            timeout: seconds for the whole call, waiting and saving included; None: the client's timeout, else by
                resolution: 300 for 0.5K and 1K, 600 for 2K, 1200 for 4K.
            on_progress: a function that is called with a ``Progress`` at each step; keep its ``task``
                to resume later.
            idempotency_key: a key of your own, 1 to 512 characters: in one ledger, the same key brings the same
                pictures, whoever asks, and is bought once. None: each call buys. It needs a ledger.
            budget: the name of a budget in the ledger that must hold the price.
            references_by: how local reference images go out: ``"auto"`` inside the request while it stays below the
                gateway's limit, otherwise uploaded before it, and uploaded if the gateway refuses them inside it;
                ``"inline"`` always inside; ``"upload"`` always uploaded. None: as the client says.

        Returns:
            The pictures that were delivered, their cost, and the failures if some of several were not.

        Raises:
            BadRequestError: an argument is not accepted, here or by the gateway. Nothing was charged.
            ReferenceImageError: a reference image can't be used or uploaded. Nothing was charged.
            ContentPolicyError: moderation refused the prompt or a reference image. Nothing was charged.
            AuthenticationError, PermissionDeniedError, InsufficientBalanceError, NotFoundError, RateLimitError,
            InternalServerError, APIConnectionError, GenerationFailedError: as their names say; nothing was charged.
            OutcomeUnknownError, NoImageError: it may have been charged; look at the account before you ask again.
            TaskTimeoutError: the wait ended and the task goes on; ``wait(error.task)`` resumes.
            DownloadError: the picture is made and paid for, and could not be saved; ``download`` tries again.
            BudgetExceededError: the budget does not hold the price. Nothing was charged.
            LedgerError: the ledger can't be written. Nothing was charged.
        """
        request = self._request(
            prompt,
            model=model,
            aspect_ratio=aspect_ratio,
            resolution=resolution,
            n=n,
            references=references,
            mask=mask,
            google_search=google_search,
            google_image_search=google_image_search,
            client_reference_id=client_reference_id,
            webhook=webhook,
            extra_body=extra_body,
        )
        options = self._call_options(timeout, save_to, on_progress, idempotency_key, budget, references_by)
        return self._driver.run(generation.generate(self._context, request, self._mode(mode), options))

    def edit(
        self,
        prompt: str | ImageRequest,
        *,
        references: Sequence[ReferenceLike],
        mask: ReferenceLike | None = None,
        model: str | None = None,
        aspect_ratio: AspectRatio | str | None = None,
        resolution: Resolution | None = None,
        n: int | None = None,
        google_search: bool | None = None,
        google_image_search: bool | None = None,
        mode: Mode = "auto",
        save_to: str | os.PathLike[str] | None = None,
        client_reference_id: str | None = None,
        webhook: str | Webhook | RegisteredEndpoint | None = None,
        extra_body: dict[str, Any] | None = None,
        timeout: float | None = None,
        on_progress: OnProgress | None = None,
        idempotency_key: str | None = None,
        budget: str | None = None,
        references_by: ReferencesBy | None = None,
    ) -> ImageResult:
        """Make ``n`` images from reference images and wait for them.

        It is ``generate`` with at least one reference image, and with a mask where the model takes one.

        Args:
            prompt: what to change; must not be empty. The gateway moderates it. Or a whole ``ImageRequest``, of which
                the other arguments change parts.
            references: what to change, or to take from, at least one and at most 14 (16 for ``gpt-image-2``) pictures:
                paths, bytes, binary files, PIL images, public http(s) URLs or data URIs; JPEG, PNG or WebP, at most
                10 MB each.
            mask: a picture of the same kinds and size limit that marks what to change in the first reference image, and
                has its pixels; only for models that take one (``gpt-image-2``).
            model: a model id, or an alias such as ``nano-banana-2``; None: the client's model. An id that this version
                does not know is accepted, without a price.
            aspect_ratio: ``"auto"`` (the model chooses), ``"1:1"``, ``"2:3"``, ``"3:2"``, ``"3:4"``, ``"4:3"``,
                ``"4:5"``, ``"5:4"``, ``"9:16"``, ``"16:9"``, ``"21:9"``, ``"1:4"``, ``"4:1"``, ``"1:8"``, ``"8:1"``, or
                a size in pixels such as ``"1920x1080"``, which stands for the nearest ratio and the smallest resolution
                that covers it. None: the gateway chooses.
            resolution: ``"0.5K"``, ``"1K"``, ``"2K"`` or ``"4K"``; it decides the price. None: the gateway's default,
                1K.
            n: how many images, 1 to 100; None: one. Each has a task and a charge of its own.
            google_search: True grounds the picture in a Google search.
            google_image_search: True grounds it in a Google image search.
            mode: ``"auto"`` submits and polls, or makes one shot if the gateway has no async route; ``"sync"`` makes
                one shot; ``"async"`` submits and polls only.
            save_to: a folder, a file, or an fsspec URL. The file's ending follows the picture's bytes, and no file of
                another picture is overwritten. None: nothing is downloaded.
            client_reference_id: your own reference, which the webhook repeats.
            webhook: the id of a verified webhook endpoint (``client.webhooks``), a ``WebhookEndpoint`` (its id), or a
                ``Webhook`` with its events.
                None: the endpoint of the client's ``webhook_waiter``, if that names one.
            extra_body: further fields of the request body, sent as they are; fields that have an argument are refused.
            timeout: seconds for the whole call, waiting and saving included; None: the client's timeout, else by
                resolution: 300 for 0.5K and 1K, 600 for 2K, 1200 for 4K.
            on_progress: a function that is called with a ``Progress`` at each step; keep its ``task``
                to resume later.
            idempotency_key: a key of your own, 1 to 512 characters: in one ledger, the same key brings the same
                pictures, whoever asks, and is bought once. None: each call buys. It needs a ledger.
            budget: the name of a budget in the ledger that must hold the price.
            references_by: how local reference images go out: ``"auto"`` inside the request while it stays below the
                gateway's limit, otherwise uploaded before it, and uploaded if the gateway refuses them inside it;
                ``"inline"`` always inside; ``"upload"`` always uploaded. None: as the client says.

        Returns:
            The pictures that were delivered, their cost, and the failures if some of several were not.

        Raises:
            BadRequestError: an argument is not accepted, here or by the gateway. Nothing was charged.
            ReferenceImageError: there is no reference image, one can't be used, or the mask can't. Nothing was charged.
            ContentPolicyError: moderation refused the prompt or a reference image. Nothing was charged.
            AuthenticationError, PermissionDeniedError, InsufficientBalanceError, NotFoundError, RateLimitError,
            InternalServerError, APIConnectionError, GenerationFailedError: as their names say; nothing was charged.
            OutcomeUnknownError, NoImageError: it may have been charged; look at the account before you ask again.
            TaskTimeoutError: the wait ended and the task goes on; ``wait(error.task)`` resumes.
            DownloadError: the picture is made and paid for, and could not be saved; ``download`` tries again.
            BudgetExceededError: the budget does not hold the price. Nothing was charged.
            LedgerError: the ledger can't be written. Nothing was charged.
        """
        request = self._edit_request(
            prompt,
            references=references,
            mask=mask,
            model=model,
            aspect_ratio=aspect_ratio,
            resolution=resolution,
            n=n,
            google_search=google_search,
            google_image_search=google_image_search,
            client_reference_id=client_reference_id,
            webhook=webhook,
            extra_body=extra_body,
        )
        options = self._call_options(timeout, save_to, on_progress, idempotency_key, budget, references_by)
        return self._driver.run(generation.generate(self._context, request, self._mode(mode), options))

    def submit(
        self,
        prompt: str | ImageRequest,
        *,
        model: str | None = None,
        aspect_ratio: AspectRatio | str | None = None,
        resolution: Resolution | None = None,
        references: Sequence[ReferenceLike] | None = None,
        mask: ReferenceLike | None = None,
        google_search: bool | None = None,
        google_image_search: bool | None = None,
        client_reference_id: str | None = None,
        webhook: str | Webhook | RegisteredEndpoint | None = None,
        extra_body: dict[str, Any] | None = None,
        timeout: float | None = None,
        on_progress: OnProgress | None = None,
        idempotency_key: str | None = None,
        budget: str | None = None,
        references_by: ReferencesBy | None = None,
    ) -> Task:
        """Submit one image and return its task at once. It is charged now, and refunded if it fails.

        Args:
            prompt: what to draw; must not be empty. The gateway moderates it. Or a whole ``ImageRequest``, of which the
                other arguments change parts.
            model: a model id, or an alias such as ``nano-banana-2``; None: the client's model. An id that this version
                does not know is accepted, without a price.
            aspect_ratio: ``"auto"`` (the model chooses), ``"1:1"``, ``"2:3"``, ``"3:2"``, ``"3:4"``, ``"4:3"``,
                ``"4:5"``, ``"5:4"``, ``"9:16"``, ``"16:9"``, ``"21:9"``, ``"1:4"``, ``"4:1"``, ``"1:8"``, ``"8:1"``, or
                a size in pixels such as ``"1920x1080"``, which stands for the nearest ratio and the smallest resolution
                that covers it. None: the gateway chooses.
            resolution: ``"0.5K"``, ``"1K"``, ``"2K"`` or ``"4K"``; it decides the price. None: the gateway's default,
                1K.
            references: reference images, at most 14 (16 for ``gpt-image-2``): paths, bytes, binary files, PIL images,
                public http(s) URLs or data URIs; JPEG, PNG or WebP, at most 10 MB each.
            mask: a picture of the same kinds and size limit that marks what to change in the first reference image, and
                has its pixels; only for models that take one (``gpt-image-2``).
            google_search: True grounds the picture in a Google search.
            google_image_search: True grounds it in a Google image search.
            client_reference_id: your own reference, which the webhook repeats.
            webhook: the id of a verified webhook endpoint (``client.webhooks``), a ``WebhookEndpoint`` (its id), or a
                ``Webhook`` with its events.
                None: the endpoint of the client's ``webhook_waiter``, if that names one.
            extra_body: further fields of the request body, sent as they are; fields that have an argument are refused.
            timeout: seconds for the submit alone; None: as for ``generate``.
            on_progress: a function that is called with a ``Progress`` at each step.
            idempotency_key: a key of your own, 1 to 512 characters: in one ledger, the same key brings the same
                picture, whoever asks, and is bought once. None: each call buys. It needs a ledger.
            budget: the name of a budget in the ledger that must hold the price.
            references_by: how local reference images go out: ``"auto"`` inside the request while it stays below the
                gateway's limit, otherwise uploaded before it, and uploaded if the gateway refuses them inside it;
                ``"inline"`` always inside; ``"upload"`` always uploaded. None: as the client says.

        Returns:
            The task, to be collected with ``wait``, in another process too. If the gateway answers with the finished
            picture, it has succeeded already.

        Raises:
            BadRequestError: an argument is not accepted, here or by the gateway. Nothing was charged.
            ReferenceImageError: a reference image can't be used or uploaded. Nothing was charged.
            ContentPolicyError: moderation refused the prompt or a reference image. Nothing was charged.
            AuthenticationError, PermissionDeniedError, InsufficientBalanceError, NotFoundError, RateLimitError,
            InternalServerError, APIConnectionError: as their names say; nothing was charged.
            OutcomeUnknownError, NoImageError: it may have been charged; look at the account before you ask again.
            BudgetExceededError: the budget does not hold the price. Nothing was charged.
            LedgerError: the ledger can't be written. Nothing was charged.
        """
        request = self._request(
            prompt,
            model=model,
            aspect_ratio=aspect_ratio,
            resolution=resolution,
            n=1,
            references=references,
            mask=mask,
            google_search=google_search,
            google_image_search=google_image_search,
            client_reference_id=client_reference_id,
            webhook=webhook,
            extra_body=extra_body,
        )
        options = self._call_options(timeout, None, on_progress, idempotency_key, budget, references_by)
        return self._driver.run(generation.submit(self._context, request, options))

    def retrieve(self, task_id: str | Task, *, model: str | None = None) -> Task:
        """Poll a task once.

        Args:
            task_id: its id, or the task itself.
            model: the model that the task was submitted with; the gateway needs it to find the task.

        Raises:
            NotFoundError: the gateway does not know the task.
            APIMasterError: the gateway could not be asked. A poll is free.
        """
        return self._driver.run(generation.retrieve(self._context, self._task(task_id, model), self._ask_timeout))

    def wait(
        self,
        task_or_id: Task | str,
        *,
        model: str | None = None,
        timeout: float | None = None,
        save_to: str | os.PathLike[str] | None = None,
        on_progress: OnProgress | None = None,
    ) -> ImageResult:
        """Wait for a task that was submitted here, earlier, or in another process. It costs nothing.

        Args:
            task_or_id: a task, or the id of one.
            model: the model that the task was submitted with, if it is not the task's or the client's.
            timeout: seconds for the whole wait, saving included; None: the client's timeout, else by resolution.
            save_to: a folder, a file, or an fsspec URL, as for ``generate``; None: nothing is downloaded.
            on_progress: a function that is called with a ``Progress`` at each step.

        Returns:
            The pictures. Given an id alone, ``request`` is None, and ``cost`` is known only if the picture is saved,
            since its pixels show the resolution.

        Raises:
            GenerationFailedError, ContentPolicyError: the task failed, and its charge was given back.
            NoImageError: it succeeded, and there is no picture in it.
            AuthenticationError, NotFoundError, PermissionDeniedError: the gateway refuses to tell; the task goes on.
            TaskTimeoutError: the wait ended and the task goes on; ``wait(error.task)`` resumes.
            DownloadError: the picture is made and paid for, and could not be saved; ``download`` tries again.
        """
        options = self._call_options(timeout, save_to, on_progress)
        return self._driver.run(generation.wait(self._context, self._task(task_or_id, model), options))

    def download(self, image: GeneratedImage, path: str | os.PathLike[str]) -> Path | str:
        """Download a picture and save it. Its file gets its name once the picture is proven to be whole.

        Args:
            image: from a result, a task, or a ``DownloadError``.
            path: a folder, a file, or an fsspec URL, as for ``save_to``.

        Returns:
            The file's path or URL. Its ending follows the bytes; if another picture has its name, it gets a number.

        Raises:
            DownloadError: it is paid for and could not be downloaded. Another download is free.
        """
        return self._driver.run(download.download(self._context, image, self._target(path)))

    def read(self, image: GeneratedImage) -> bytes:
        """Download a picture and return its bytes, checked to be whole.

        Raises:
            DownloadError: it is paid for and could not be downloaded. Another download is free.
        """
        return self._driver.run(download.read(self._context, image))

    def upload(self, picture: ReferenceLike, *, timeout: float | None = None) -> str:
        """Upload a reference image and return its public URL, which is good as one of ``references``. It is free.

        Calls that need it do this by themselves. A picture that this client has uploaded within the hour is not
        uploaded again. How long the gateway keeps it is not documented: don't use the URL for longer than an hour.

        Args:
            picture: a path, bytes, a binary file, a PIL image or a data URI; JPEG, PNG or WebP, at most 10 MB. A public
                http(s) URL is returned as it is.
            timeout: seconds; None: the client's timeout, else 300.

        Raises:
            ReferenceImageError: it can't be used as a reference, or the gateway does not take it.
            NotFoundError: this gateway takes no uploads.
            APIMasterError: it could not be uploaded. Nothing was charged.
        """
        reference, max_bytes = self._reference(picture)
        seconds = self._call_options(timeout).timeout
        return self._driver.run(uploads.upload(self._context, reference, max_bytes, seconds))

    def settle(
        self, *keys: str, save_to: str | os.PathLike[str] | None = None, timeout: float | None = None
    ) -> Settlement:
        """Find out what became of purchases that nobody knows the outcome of, from the gateway's usage log.

        The log tells which charge was for which prompt (docs/endpoint.md, "The account's own books"). What was charged
        is collected, for nothing; what provably was not may be bought again with the same key.

        Args:
            keys: idempotency keys; none: all unknown purchases of this client's account.
            save_to: where to save the pictures; None: their URLs are recorded.
            timeout: seconds to wait for tasks that are still running; None: 60.

        Returns:
            What was recovered, what was not charged, and what is still unknown, with the reason.

        Raises:
            BadRequestError: the client has no ledger, or a key is no text.
            LedgerError: the ledger can't be read or written.
        """
        from ._flows.settle import settle  # rarely needed

        wanted = self._keys(keys)
        options = self._call_options(timeout, save_to)
        return self._driver.run(settle(self._context, wanted, options))

    def models(self) -> list[str]:
        """The ids of all models that the gateway lists now, not only of image models.

        Raises:
            APIMasterError: the gateway gave no list. The call is free.
        """
        return self._driver.run(generation.models(self._context, self._ask_timeout))

    def account(self) -> Account:
        """What this key may spend and has spent, in US dollars, as the gateway's own books have it.

        It comes from ``GET /api/usage/token``, which lies beside ``/v1``. The call is free.

        Raises:
            NotFoundError: this gateway does not tell.
            APIMasterError: the gateway could not be asked.
        """
        return self._driver.run(account.account(self._context, self._ask_timeout))

    def charges(self, *, since: float | datetime | timedelta | None = None) -> Charges:
        """The rows of this key's usage log, newest first: charges, refunds and errors, in US dollars.

        It comes from ``GET /api/log/token``, which lies beside ``/v1``. The call is free, but the gateway allows only
        about 20 in 20 minutes from one address. The row of a task appears when it is submitted, that of a one-shot call
        when it ends, even if the client lost the connection long before: so the log tells whether a request with an
        ``OutcomeUnknownError`` was charged, and where its picture is. A client with a ledger counts the call there, so
        that settling knows of it.

        The log holds the newest 1,000 rows. If it does not reach back to ``since``, the result's ``complete`` is False,
        and a warning is logged.

        Args:
            since: rows of this time or later: unix seconds, a datetime (without a zone it is this machine's time), or a
                timedelta back from now. Rows without a date are kept. None: all rows.

        Raises:
            BadRequestError: ``since`` is none of these, or lies more than a day in the future. Nothing was sent.
            NotFoundError: this gateway keeps no usage log that this key can read.
            RateLimitError: the log was read too often; the client does not retry that.
            APIMasterError: the gateway could not be asked.
        """
        start = self._since(since)
        return self._driver.run(account.charges_for_caller(self._context, self._ask_timeout, start))

    def price_list(self, *, model: str | None = None) -> PriceList:
        """The prices that the gateway publishes now, in US dollars, before the ratio of an account's group.

        They come from ``GET /api/pricing``, and for a model that this does not price from
        ``GET /api/public/marketplace``. Both lie beside ``/v1``; the call is free, and goes without the key. What was
        really charged is in ``charges()``.

        Args:
            model: only this model, under each of its spellings; None: all models of the gateway.

        Raises:
            BadRequestError: ``model`` is no text, or empty. Nothing was sent.
            NotFoundError: this gateway publishes no prices that can be read.
            APIMasterError: the gateway could not be asked.
        """
        from ._flows.pricing import price_list  # rarely needed

        return self._driver.run(price_list(self._context, self._ask_timeout, self._spellings(model)))

    @property
    def webhooks(self) -> Webhooks:
        """The account's webhook endpoints and events: ``create``, ``list``, ``verify``, ``events``, and more.

        It shares the connections and options of this client. See docs/webhooks.md.
        """
        from .webhooks.management import Webhooks  # rarely needed

        return Webhooks(self._driver, self._context, self._ask_timeout, self.model)

    def as_async(self) -> AsyncAPIMaster:
        """An asyncio client with the same settings, poll rate and history of durations. Close it separately.

        Raises:
            BadRequestError: this client uses an ``http_client`` of your own, which does not work on asyncio.
        """
        if self._driver.uses_given_client:
            raise BadRequestError(
                "a client with an http_client of its own can't be used on asyncio",
                advice="Make an AsyncAPIMaster with an httpx.AsyncClient.",
            )
        from .async_client import AsyncAPIMaster

        made = AsyncAPIMaster(self._settings.api_key, base_url=self.base_url, model=self.model, timeout=self._timeout)
        made._context = self._context
        return made

    def close(self) -> None:
        """Close the connections. Closing twice does no harm."""
        self._driver.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
