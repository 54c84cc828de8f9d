"""A LiteLLM Router over two keys. It spreads the load, and pauses a key that the gateway refuses."""

import asyncio
import os

from litellm import Router

import litellm_apimaster

litellm_apimaster.register()

keys = (os.environ["APIMASTER_API_KEY"], os.environ.get("APIMASTER_API_KEY_2", os.environ["APIMASTER_API_KEY"]))
router = Router(
    model_list=[
        {"model_name": "nano-banana", "litellm_params": {"model": "apimaster/nano-banana-2", "api_key": key}}
        for key in keys
    ],
    num_retries=3,
)


async def main() -> None:
    prompts = ("a red kite", "a green kite", "a blue kite")
    calls = [router.aimage_generation(model="nano-banana", prompt=prompt) for prompt in prompts]
    responses = await asyncio.gather(*calls)
    for prompt, response in zip(prompts, responses, strict=True):
        print(prompt, response.data[0].url, f"${response._hidden_params['response_cost']}")


asyncio.run(main())
