"""Pictures by webhook with FastAPI: uvicorn fastapi_app:app. Needs fastapi, uvicorn, a key, and two variables:

APIMASTER_WEBHOOK_SECRET     the secret of your webhook endpoint
APIMASTER_WEBHOOK_ENDPOINT   its id, whep_…; its URL leads to /webhooks/apimaster of this application, by https

POST /pictures {"prompt": "an orange cat"} answers when the picture is saved. No request polls meanwhile.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, HTTPException
from pydantic import BaseModel

from apimaster import APIMasterError, AsyncAPIMaster
from apimaster.webhooks import WebhookWaiter

waiter = WebhookWaiter(os.environ["APIMASTER_WEBHOOK_SECRET"], endpoint_id=os.environ["APIMASTER_WEBHOOK_ENDPOINT"])
client = AsyncAPIMaster(webhook_waiter=waiter)


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    """Close the client when the application ends."""
    async with client:
        yield


app = FastAPI(lifespan=lifespan)
app.router.add_route("/webhooks/apimaster", waiter.asgi, methods=["POST"])


class Order(BaseModel):
    """What somebody wants to see."""

    prompt: str


@app.post("/pictures")
async def make_picture(order: Order) -> dict[str, Any]:
    """Make a picture, save it, and tell where it is."""
    try:
        result = await client.generate(order.prompt, save_to="pictures/")
    except APIMasterError as error:
        raise HTTPException(502, str(error)) from error
    return {"path": str(result.images[0].path), "cost": str(result.cost)}
