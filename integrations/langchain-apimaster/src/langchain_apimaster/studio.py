"""What the tools of one toolkit share: the clients, the store, the budget, and what the application chose.

Clients are made when the first call needs one, so that a tool can be made without a key, and never travel: a pickled
studio holds no key and no connection, and finds its key in the environment of the process where it wakes up.
"""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

from apimaster import APIMaster, AsyncAPIMaster

from .budget import Budget
from .ledger import Ledger
from .previews import need_pillow, takes_images
from .references import Sources
from .schema import Choices
from .store import Store

if TYPE_CHECKING:
    from pydantic import SecretStr
    from typing_extensions import Self

    from .calling import Call
    from .options import Options

_NOT_PICKLED = ("_lock", "_key", "_client", "_async_client", "_given")


class Studio:
    """Made by a toolkit for its tools, or by a tool for itself.

    Attributes:
        model: the id of the image model.
        choices: who chooses what.
        store: where pictures go.
        budget: what may be spent.
        ledger: what was asked for.
        shows_images: whether the chat model gets a small copy of each picture.
    """

    def __init__(self, options: Options) -> None:
        self._lock = threading.Lock()
        self._key: SecretStr | None = options.api_key
        self._base_url = options.base_url
        self._client: APIMaster | None = options.client
        self._async_client: AsyncAPIMaster | None = options.async_client
        self._given = options.client is not None or options.async_client is not None
        self.shows_images = options.show_image == "always" or (
            options.show_image == "auto" and takes_images(options.chat_model)
        )
        self._timeout = options.timeout
        self._folders = options.folders()
        self.model = options.image_model()
        self.choices = Choices(
            self.model,
            defaults=options.defaults,
            expose=None if options.expose is None else frozenset(options.expose),
            allowed=options.allowed,
        )
        self.store = Store(options.store)
        self.budget = Budget(options.budget_usd, options.max_images)
        self.ledger = Ledger(self.store)
        if self.shows_images:
            need_pillow()

    @property
    def has_folders(self) -> bool:
        """Whether a model may name local files."""
        return bool(self._folders)

    def sources(self, call: Call) -> Sources:
        """Where the words of a model may lead in this call."""
        return Sources(self.store, call.caller.messages(), self._folders)

    def handling(self) -> dict[str, Any]:
        """The client's arguments that every wait gets."""
        return {"save_to": self.store.save_to, "timeout": self._timeout}

    def blocking(self) -> APIMaster:
        """The client for ``invoke``.

        Raises:
            AuthenticationError: there is no key.
            TypeError: the application gave an asyncio client only.
        """
        with self._lock:
            if self._client is None:
                if self._given:
                    raise TypeError("this tool was made with async_client= alone; give it client= too, or use ainvoke")
                self._client = APIMaster(self._key, base_url=self._base_url, model=self.model)
            return self._client

    async def awaitable(self) -> AsyncAPIMaster | APIMaster:
        """The client for ``ainvoke``: the application's blocking one, if that is the only one it gave."""
        if self._async_client is None:
            if self._given and self._client is not None:
                return self._client
            # Finding the key may read a file.
            return await asyncio.to_thread(self._made_async)
        return self._async_client

    def _made_async(self) -> AsyncAPIMaster:
        with self._lock:
            if self._async_client is None:
                self._async_client = AsyncAPIMaster(self._key, base_url=self._base_url, model=self.model)
            return self._async_client

    def close(self) -> None:
        """Close the blocking client, unless the application gave it."""
        with self._lock:
            client = None if self._given else self._client
            if client is not None:
                self._client = None
        if client is not None:
            client.close()

    async def aclose(self) -> None:
        """Close both clients, unless the application gave them."""
        await asyncio.to_thread(self.close)
        if self._async_client is not None and not self._given:
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
        self._given = False

    def __deepcopy__(self, memo: object) -> Self:
        return self  # a copy of a tool spends from the same budget

    def __repr__(self) -> str:
        return f"Studio(model={self.model!r}, store={self.store.place!r}, budget={self.budget!r})"
