"""The calls of a probe that cost nothing, and why each of them can't be charged.

=================  =============================================================================================
step               why it is free
=================  =============================================================================================
models, account,   they only read; the log is read once, since the gateway allows about 20 reads in 20 minutes
log, pricing, …
wrong_key          it reads the list of models, with a key that is nobody's
no_such_task       a poll
no_such_model      a purchase of a model that no gateway has
bad_parameter      a purchase without a prompt, with a text as ``n``: there is nothing to draw
chat               a chat without messages: there is nothing to answer
no_such_route      a route that no gateway has
=================  =============================================================================================
"""

from __future__ import annotations

import contextlib
from typing import Final

from ...account import Charge
from ...catalog import DEFAULT_MODEL, spellings
from ...errors import APIConnectionError, APIMasterError, AuthenticationError
from .kept import FAMILIES
from .session import Session

FIRST_STEP: Final = "models"
"""The call that shows whether the gateway can be reached and takes the key."""
NO_SUCH_MODEL: Final = "apimaster-probe-no-such-model"
NO_SUCH_TASK: Final = "task_00000000000000000000000000"
_NOBODYS_KEY: Final = "sk-apimaster-probe-not-a-key"


def make_free_calls(session: Session) -> None:
    """Make them all; what they answer is in the transcript.

    Raises:
        APIConnectionError: the gateway can't be reached at all.
        AuthenticationError: it refuses the key.
    """
    with session.step(FIRST_STEP, "the list of models"):
        ids = _models(session)
    model = next((each for each in spellings(DEFAULT_MODEL) if each in ids), DEFAULT_MODEL)
    session.file.transcript.model = model
    # A gateway without Nano Banana 2 shows the shape of its errors with another model that it has.
    offered = model if model in ids else next((each for each in ids if FAMILIES.fullmatch(each)), model)
    with session.step("account", "the account's figures"), contextlib.suppress(APIMasterError):
        session.buyer.account()
    with session.step("wrong_key", "the shape of errors"):
        session.raw("GET", "/models", key=_NOBODYS_KEY)
    with session.step("no_such_task"), contextlib.suppress(APIMasterError):
        session.buyer.retrieve(NO_SUCH_TASK, model=model)
    with session.step("no_such_model"), contextlib.suppress(APIMasterError):
        session.buyer.submit("nothing", model=NO_SUCH_MODEL)
    with session.step("bad_parameter"):
        session.raw("POST", "/images/generations", json={"model": offered, "n": "none"})
    with session.step("chat"):
        session.raw("POST", "/chat/completions", json={"model": offered, "messages": []})
    with session.step("no_such_route"):
        session.raw("POST", "/apimaster-probe/no-such-route", json={})
    with session.step("account_after_refusals"), contextlib.suppress(APIMasterError):
        session.buyer.account()
    with session.step("pricing", "the public price list"):
        session.raw("GET", "/api/pricing", key=None)
    with session.step("marketplace"):
        session.raw("GET", f"/api/public/marketplace?model={model}", key=None)
    with session.step("capabilities", "webhooks"):
        session.raw("GET", f"/webhook-capabilities?model={model}")


def read_log(session: Session) -> tuple[Charge, ...]:
    """Read the usage log once; empty if there is none."""
    with session.step("log", "the usage log"), contextlib.suppress(APIMasterError):
        return session.buyer.charges()
    return ()


def _models(session: Session) -> list[str]:
    try:
        return session.buyer.models()
    except (APIConnectionError, AuthenticationError):
        raise
    except APIMasterError:  # a list of another shape, or no list: a fact will say so
        return []
