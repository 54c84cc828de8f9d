"""LiteLLM's own functions with Nano Banana 2: generate an image, print its list price, edit the image.

Needs APIMASTER_API_KEY, or APIMASTER_BASE_URL and a key of an emulator (`apimaster emulator`).
"""

import litellm

import litellm_apimaster

litellm_apimaster.register()

made = litellm.image_generation(
    model="apimaster/nano-banana-2",
    prompt="An orange cat at sunset, watercolor",
    size="16:9",
    resolution="2K",
)
print(made.data[0].url)
print(f"cost ${made._hidden_params['response_cost']}")

edited = litellm.image_edit(
    model="apimaster/nano-banana-2",
    image=made.data[0].url,
    prompt="The same cat, at night",
)
print(edited.data[0].url)
