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
from apimaster.catalog import DEFAULT_MODEL, spec_for
from apimaster.settings import KEY_VARIABLES

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
        timeout: seconds for one call, including the wait; None: 300 to 1200, by resolution.
        store: the folder for pictures and their records, or its fsspec URL; None for a folder in the user's data
            directory. Tools that share a store find each other's pictures.
        defaults: the application's values for ``aspect_ratio``, ``resolution``, ``reference_images``, ``n`` and
            ``google_search``.
        expose: which of these five the model may choose. The others are not in its schema and keep the value in
            ``defaults``. None exposes all.
        allowed: for any of them, the values that the model may choose from: ``{"resolution": ["0.5K", "1K"]}``.
        allow_files_under: a folder, or several, whose files the model may name as reference images.
        budget_usd: the limit on spending, in US dollars.
        max_images: the limit on the number of images.
        show_image: whether the model sees a small copy of each picture: ``"never"``, ``"always"``, or ``"auto"`` to
            show it if the profile of ``chat_model`` says that it takes images in tool messages. Needs Pillow.
        chat_model: the chat model that will use the tools, for ``show_image="auto"``.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid", defer_build=True)

    api_key: SecretStr | None = Field(default_factory=_key_from_environment)
    base_url: str | None = None
    client: APIMaster | None = Field(default=None, exclude=True, repr=False)
    async_client: AsyncAPIMaster | None = Field(default=None, exclude=True, repr=False)
    model: str = DEFAULT_MODEL
    timeout: float | None = Field(default=None, gt=0)
    store: str | Path | None = None
    defaults: Mapping[str, Any] = Field(default_factory=dict)
    expose: Set[str] | None = None
    allowed: Mapping[str, Any] = Field(default_factory=dict)
    allow_files_under: str | Path | Sequence[str | Path] | None = None
    budget_usd: Decimal | None = Field(default=None, ge=0)
    max_images: int | None = Field(default=None, ge=0)
    show_image: Literal["never", "auto", "always"] = "never"
    chat_model: Any = Field(default=None, exclude=True, repr=False)

    @field_validator("budget_usd", mode="before")
    @classmethod
    def _exactly(cls, value: Any) -> Any:
        return str(value) if isinstance(value, float) else value  # 0.15 is 15 cents, not the nearest binary fraction

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
        return spec_for(self.model).id

    def folders(self) -> tuple[Path, ...]:
        """The folders of ``allow_files_under``."""
        if self.allow_files_under is None:
            return ()
        folders = (
            [self.allow_files_under] if isinstance(self.allow_files_under, (str, Path)) else self.allow_files_under
        )
        return tuple(Path(folder).expanduser() for folder in folders)

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        memo = {} if memo is None else memo
        for shared in (self.client, self.async_client, self.chat_model):
            memo[id(shared)] = shared  # a copy uses the same connections
        return super().__deepcopy__(memo)
