"""What the tools of one toolkit share: the clients, the store, the ledger, the budget, and the application's settings.

The first call that needs a client makes it, so a tool can be made without a key. Clients are not pickled: a pickled
context holds neither a key nor a connection, and takes its key from the environment of the process that loads it.
"""

from __future__ import annotations

import asyncio
import threading
from functools import partial
from typing import TYPE_CHECKING, Any

from apimaster import APIMaster, AsyncAPIMaster

from .attachment_numbers import AttachmentNumbers
from .budget import Budget
from .open_ledger import OpenLedger
from .previews import require_pillow, takes_images
from .purchase_keys import PurchaseKeys
from .references import ReferenceResolver
from .schema import ArgumentPolicy
from .store import Store

if TYPE_CHECKING:
    from pydantic import SecretStr
    from typing_extensions import Self

    from .call import Call
    from .options import Options

_NOT_PICKLED = ("_lock", "_key", "_client", "_async_client", "_clients_given")


class ToolContext:
    """A toolkit makes one for its tools. A tool that is made by itself has its own.

    Args:
        options: the application's settings.
        kind: the toolkit, or the name of a single tool: each has a budget of its own.

    Attributes:
        model: the id of the image model.
        policy: which arguments the model may choose, and from which values.
        store: where pictures are kept.
        ledger: where purchases are kept.
        keys: under which key the ledger knows a tool call.
        budget: what may be spent.
        attachments: which numbers the images of a conversation have.
        shows_images: whether the chat model gets a small copy of each picture.
    """

    def __init__(self, options: Options, kind: str) -> None:
        self._lock = threading.Lock()
        self._key: SecretStr | None = options.api_key
        self._base_url = options.base_url
        self._client: APIMaster | None = options.client
        self._async_client: AsyncAPIMaster | None = options.async_client
        self._clients_given = options.client is not None or options.async_client is not None
        self.shows_images = options.show_image == "always" or (
            options.show_image == "auto" and takes_images(options.chat_model)
        )
        self._timeout = options.timeout
        self._references_by = options.references_by
        self._folders = options.folders()
        self.model = options.image_model()
        self.policy = ArgumentPolicy(
            self.model,
            defaults=options.defaults,
            expose=None if options.expose is None else frozenset(options.expose),
            allowed=options.allowed,
        )
        self.store = Store(options.store, options.namespace)
        self.keys = PurchaseKeys(options.namespace)
        clients = (options.client, options.async_client)
        of_client = next((each.ledger for each in clients if each is not None and each.ledger is not None), None)
        self.ledger = OpenLedger(options.ledger or of_client, self.store)
        self.attachments = AttachmentNumbers(self.ledger, options.namespace)
        self.budget = Budget(self.ledger, options.budget_name, kind, options.budget_usd, options.max_images)
        if self.shows_images:
            require_pillow()

    @property
    def has_folders(self) -> bool:
        """Whether a model may name local files."""
        return bool(self._folders)

    def reference_resolver(self, call: Call) -> ReferenceResolver:
        """What turns a model's names of reference images into pictures, for this call."""
        number = partial(self.attachments.number, call)
        return ReferenceResolver(self.store, call.caller.messages(), self._folders, number)

    def wait_options(self) -> dict[str, Any]:
        """The client's arguments for every call that waits for pictures."""
        return {"save_to": self.store.save_to, "timeout": self._timeout}

    def purchase_options(self, key: str) -> dict[str, Any]:
        """The client's arguments for every call that buys pictures."""
        return {"idempotency_key": key, "budget": self.budget.name, "references_by": self._references_by}

    def sync_client(self) -> APIMaster:
        """The client for ``invoke``, which writes into the ledger.

        Raises:
            AuthenticationError: there is no key.
            LedgerError: the ledger can't be opened.
            TypeError: the application gave an asyncio client only.
        """
        ledger = self.ledger.get()
        with self._lock:
            if self._client is None:
                if self._clients_given:
                    raise TypeError("this tool was made with async_client= alone; give it client= too, or use ainvoke")
                self._client = APIMaster(self._key, base_url=self._base_url, model=self.model, ledger=ledger)
            client = self._client
        return client if client.ledger is ledger else client.with_options(ledger=ledger)

    async def async_client(self) -> AsyncAPIMaster | APIMaster:
        """The client for ``ainvoke``: the application's blocking one, if that is the only one it gave."""
        # To find the key, the client may read a file; and the ledger may have to be opened.
        return await asyncio.to_thread(self._find_async_client)

    def _find_async_client(self) -> AsyncAPIMaster | APIMaster:
        if self._async_client is None and self._clients_given and self._client is not None:
            return self.sync_client()
        ledger = self.ledger.get()
        with self._lock:
            if self._async_client is None:
                self._async_client = AsyncAPIMaster(self._key, base_url=self._base_url, model=self.model, ledger=ledger)
            client = self._async_client
        return client if client.ledger is ledger else client.with_options(ledger=ledger)

    def close(self) -> None:
        """Close the blocking client, unless the application gave it."""
        with self._lock:
            client = None if self._clients_given else self._client
            if client is not None:
                self._client = None
        if client is not None:
            client.close()

    async def aclose(self) -> None:
        """Close both clients, unless the application gave them."""
        await asyncio.to_thread(self.close)
        if self._async_client is not None and not self._clients_given:
            client, self._async_client = self._async_client, None
            await client.aclose()

    def __getstate__(self) -> dict[str, object]:
        return {name: value for name, value in self.__dict__.items() if name not in _NOT_PICKLED}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state)
        self._lock = threading.Lock()
        self._key = None
        self._client = None
        self._async_client = None
        self._clients_given = False

    def __deepcopy__(self, memo: object) -> Self:
        return self  # a copy of a tool spends from the same budget

    def __repr__(self) -> str:
        return f"ToolContext(model={self.model!r}, store={self.store.place!r}, budget={self.budget!r})"
