"""The options of a toolkit and of a single tool."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence, Set
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator
from typing_extensions import Self

from apimaster import APIMaster, AsyncAPIMaster
from apimaster.catalog import DEFAULT_MODEL, model_id, spec_for
from apimaster.ledger import Ledger
from apimaster.ledger.location import parse
from apimaster.request import ReferencesBy
from apimaster.settings import KEY_VARIABLES

from .open_ledger import place_of

CONFIG: Final = ConfigDict(arbitrary_types_allowed=True, extra="forbid", defer_build=True, populate_by_name=True)
NOT_PICKLED: Final = ("api_key", "client", "async_client", "chat_model")


def _key_from_environment() -> SecretStr | None:
    found = next((value for name in KEY_VARIABLES if (value := os.environ.get(name, "").strip())), None)
    return None if found is None else SecretStr(found)


class Options(BaseModel):
    """Options of ``APIMasterToolkit`` and of every tool.

    Args:
        api_key: the key; else ``APIMASTER_API_KEY``, ``APIMASTER_KEY`` or ``~/.apimaster/config.json``.
        base_url: the gateway's URL; else ``APIMASTER_BASE_URL``, the same file, or the vendor's URL.
        client: an ``apimaster.APIMaster`` to use in place of these; the application closes it.
        async_client: the same for ``ainvoke``: an ``apimaster.AsyncAPIMaster``.
        model: the id of the image model.
        references_by: how local reference images go out: ``"auto"`` inside the request while it stays below the
            gateway's limit, otherwise uploaded before it; ``"inline"`` always inside; ``"upload"`` always uploaded.
            None: as the client says.
        timeout: seconds for one call, including the wait; None: 300 to 1200, by resolution.
        store: the folder for pictures and their records, or its fsspec URL; None for a folder in the user's data
            directory. Tools that share a store find each other's pictures.
        defaults: the application's values for ``aspect_ratio``, ``resolution``, ``reference_images``, ``n`` and
            ``google_search``.
        expose: which of these five the model may choose, and ``mask``, which is for edits by an image model that takes
            one. The others are not in its schema and keep the value in ``defaults``. None exposes all.
        allowed: for any of them, the values that the model may choose from: ``{"resolution": ["0.5K", "1K"]}``.
        allow_files_under: a folder, or several, whose files the model may name as reference images.
        ledger: where purchases are kept, so that a tool call that is made again pays nothing: an
            ``apimaster.ledger.Ledger``, a path or a URL. None: the ledger of ``client`` or ``async_client``, else
            ``APIMASTER_LEDGER``, else a file in the store, or in the user's data folder if the store is elsewhere.
        namespace: the tenant. Tools with different namespaces never see each other's pictures, tasks and replays.
        budget: the name of a budget in the ledger (``Ledger.set_budget``), which may be shared with other programs.
        budget_usd: the limit on spending, in US dollars. It is kept in the ledger: toolkits with the same store and
            namespace share what is spent, over processes, restarts and changes of the limit; of different limits, that
            of the toolkit that was started last holds.
        max_images: the limit on the number of images; the same holds for it.
        show_image: whether the model sees a small copy of each picture: ``"never"``, ``"always"``, or ``"auto"`` to
            show it if the profile of ``chat_model`` says that it takes images in tool messages. Needs Pillow.
        chat_model: the chat model that will use the tools, for ``show_image="auto"``.
    """

    model_config = CONFIG

    api_key: SecretStr | None = Field(default_factory=_key_from_environment)
    base_url: str | None = None
    client: APIMaster | None = Field(default=None, exclude=True, repr=False)
    async_client: AsyncAPIMaster | None = Field(default=None, exclude=True, repr=False)
    model: str = DEFAULT_MODEL
    references_by: ReferencesBy | None = None
    timeout: float | None = Field(default=None, gt=0)
    store: str | Path | None = None
    defaults: Mapping[str, Any] = Field(default_factory=dict)
    expose: Set[str] | None = None
    allowed: Mapping[str, Any] = Field(default_factory=dict)
    allow_files_under: str | Path | Sequence[str | Path] | None = None
    ledger: Ledger | str | Path | None = Field(default=None, exclude=True, repr=False)  # a URL may hold a password
    namespace: str = ""
    # The toolkit has a property ``budget``, so the option has another name inside.
    budget_name: str | None = Field(default=None, alias="budget", min_length=1)
    budget_usd: Decimal | None = Field(default=None, ge=0)
    max_images: int | None = Field(default=None, ge=0)
    show_image: Literal["never", "auto", "always"] = "never"
    chat_model: Any = Field(default=None, exclude=True, repr=False)

    @field_validator("budget_usd", mode="before")
    @classmethod
    def _exactly(cls, value: Any) -> Any:
        return str(value) if isinstance(value, float) else value  # 0.15 is 15 cents, not the nearest binary fraction

    @field_validator("ledger")
    @classmethod
    def _is_a_place(cls, value: Any) -> Any:
        if isinstance(value, (str, Path)):
            parse(value)
        return value

    @model_validator(mode="after")
    def _one_kind_of_budget(self) -> Self:
        if self.budget_name is not None and (self.budget_usd is not None or self.max_images is not None):
            raise ValueError("budget names a budget in the ledger, which has its own limits; leave out the others")
        return self

    @model_validator(mode="after")
    def _price_is_known(self) -> Self:
        if self.budget_usd is not None and not spec_for(self.image_model()).prices:
            raise ValueError(
                f"budget_usd needs a price, and that of {self.image_model()} is not known; use max_images instead"
            )
        return self

    def image_model(self) -> str:
        """The id of the image model: the ``model`` option if it was set, else the given client's."""
        given = self.client or self.async_client
        if given is not None and "model" not in self.model_fields_set:
            return given.model
        return model_id(self.model)

    def folders(self) -> tuple[Path, ...]:
        """The folders of ``allow_files_under``."""
        if self.allow_files_under is None:
            return ()
        folders = (
            [self.allow_files_under] if isinstance(self.allow_files_under, (str, Path)) else self.allow_files_under
        )
        return tuple(Path(folder).expanduser() for folder in folders)

    def pickled(self, state: dict[Any, Any]) -> dict[Any, Any]:
        """``state`` without the key and without connections; a ledger is named by its place, without a password."""
        ledger = None if self.ledger is None else place_of(self.ledger)
        state["__dict__"] = {**state["__dict__"], **dict.fromkeys(NOT_PICKLED), "ledger": ledger}
        return state

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        memo = {} if memo is None else memo
        for shared in (self.client, self.async_client, self.chat_model, self.ledger):
            memo[id(shared)] = shared  # a copy uses the same connections
        return super().__deepcopy__(memo)
