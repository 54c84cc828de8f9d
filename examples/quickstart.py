"""Generate one picture and save it. Needs a key in APIMASTER_API_KEY."""

from apimaster import APIMaster

with APIMaster() as client:
    result = client.generate(
        "An orange cat at sunset, watercolor",
        aspect_ratio="16:9",
        resolution="1K",
        save_to="pictures/",
    )

image = result.images[0]
print(f"{image.path}: {image.width}×{image.height}, ${result.cost}")
