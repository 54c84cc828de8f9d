"""What LiteLLM's response cache may answer in the place of this provider.

A chat holds the picture itself, so the same request may be answered from the cache. By default LiteLLM leaves the
parameters that OpenAI does not have out of a request's key: the same message with another ``aspect_ratio`` would bring
the first picture.

Generations and edits hold URLs that expire. LiteLLM does not store them: they are none of the kinds of call that its
cache supports. A handler can't keep a response out of the cache by itself: LiteLLM asks the arguments of the call for
that, and an asynchronous call keeps its own.
"""

from __future__ import annotations

import litellm


def tell_parameters_apart() -> None:
    """Let all parameters of a request count in its key. Calling it again is safe."""
    litellm.enable_caching_on_provider_specific_optional_params = True
