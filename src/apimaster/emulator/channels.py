"""What the upstream channel behind the gateway does with a request: channels differ, and a client can't choose one.

A channel is a set of traits, written as words joined by ``+``: ``no_half_k+auto_square``. Without words it takes
whatever the gateway takes. ``google`` stands for the traits of Google's own channel.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from ..catalog import AUTO, spec_for
from .validation import GenerationRequest, Refusal, pixels_for
from .words import Words, read_words, write_words

WORDS: Final[Words] = MappingProxyType(
    {
        "any": {},
        "no_half_k": {"half_k": False},
        "auto_square": {"auto_square": True},
        "no_data_uris": {"data_uris": False},
        "several": {"pictures": 2},
        "google": {"half_k": False, "auto_square": True},
    }
)
"""Every word and the traits that it sets."""

_SQUARE: Final = "1:1"


@dataclass(frozen=True, slots=True)
class Channel:
    """What a channel does.

    Attributes:
        half_k: it draws at 0.5K; otherwise it refuses that with 400.
        auto_square: it turns the aspect ratio ``auto`` into ``1:1``, whatever the references are.
        data_uris: it takes references inside the request; otherwise it refuses them with 400.
        pictures: how many pictures it draws for each picture that was asked for; the others cost nothing.
    """

    half_k: bool = True
    auto_square: bool = False
    data_uris: bool = True
    pictures: int = 1

    @classmethod
    def parse(cls, value: str | Channel) -> Channel:
        """Read a text such as ``"no_half_k+auto_square"``; commas and spaces separate words, too.

        Raises:
            ValueError: a word is unknown; the message lists the known words.
        """
        if isinstance(value, Channel):
            return value
        return cls(**read_words("channel", value, WORDS))

    def take(self, request: GenerationRequest) -> None:
        """Let the channel have a request that the gateway accepts; it may change what is drawn.

        Raises:
            Refusal: 400, the channel does not take it.
        """
        if not self.half_k and request.resolution == "0.5K":
            raise Refusal(400, "imageSize must be one of 1K, 2K, 4K", "upstream_error", "invalid_request")
        if not self.data_uris:
            places = {f"image_urls[{index}]": reference for index, reference in enumerate(request.references)}
            for place, reference in [*places.items(), ("mask_url", request.mask)]:
                if reference is not None and reference.kind == "data":
                    message = f"{place}: data URIs are not supported, use a public URL"
                    raise Refusal(400, message, "upstream_error", "invalid_request")
        if self.auto_square and request.aspect_ratio == AUTO:
            request.pixels = pixels_for(spec_for(request.model), _SQUARE, request.resolution)

    def __str__(self) -> str:
        """The words of this channel, joined by ``+``, as `parse` reads them."""
        return write_words(self, Channel(), WORDS, leave_out=("any", "google")) or "any"
