"""A LiteLLM Router over two keys: load is spread, and a key that is refused is left alone for a while."""

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
    made = await asyncio.gather(*(router.aimage_generation(model="nano-banana", prompt=prompt) for prompt in prompts))
    for prompt, answer in zip(prompts, made, strict=True):
        print(prompt, answer.data[0].url, f"${answer._hidden_params['response_cost']}")


asyncio.run(main())
