"""Edit a picture: python edit_with_references.py [PICTURE]. Without a picture, it generates one first."""

import sys
from pathlib import Path

from apimaster import APIMaster


def picture_to_edit(client: APIMaster) -> Path:
    """The picture that the command line names, or else a new one."""
    if len(sys.argv) > 1:
        return Path(sys.argv[1])
    result = client.generate("An orange cat on a wall", save_to="cat.png")
    return Path(str(result.images[0].path))


with APIMaster() as client:
    picture = picture_to_edit(client)
    # A reference is a path, bytes, an open file, a PIL image or a public URL; a list may mix them.
    result = client.edit(
        "The same cat on the same wall, at night, in falling snow",
        references=[picture],
        aspect_ratio="auto",  # the ratio of the first reference
        save_to="cat-at-night.png",
    )

print(f"{picture} -> {result.images[0].path}")
