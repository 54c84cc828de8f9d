"""Every colour of every product, in one folder; after any interruption, run it again and it goes on."""

from apimaster import APIMaster
from apimaster.batch import Batch

PRODUCTS = {"teapot": "A teapot on grey paper, studio light", "cup": "A cup on grey paper, studio light"}
COLOURS = ("white", "teal", "orange")

requests = [
    {"id": f"{name}-{colour}", "prompt": f"{prompt}, {colour} glaze", "resolution": "0.5K", "tags": [name, colour]}
    for name, prompt in PRODUCTS.items()
    for colour in COLOURS
]

with APIMaster() as client, Batch(client, "variants").run(requests, max_cost="0.25") as run:
    for item in run:  # as they end; images of an earlier run come first
        print(f"{item.state:<8} {item.id:<14} {item.path or item.error}")

print("open variants/index.html")
