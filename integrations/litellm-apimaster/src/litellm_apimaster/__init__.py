"""APIMaster image generation for LiteLLM: the provider ``apimaster/…`` for the SDK, the Router and the proxy."""

from .errors import OutcomeUnknown, WaitTimeout
from .provider import APIMasterLLM
from .register import apimaster_llm, register

__all__ = ["APIMasterLLM", "OutcomeUnknown", "WaitTimeout", "apimaster_llm", "register"]
