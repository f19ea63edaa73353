"""Thumbnails: a handler that runs anywhere, and a program that has a hundred of them made.

    quorate up --nodes 3 --workers 2 --app examples.images      # in one terminal
    python -m examples.images http://127.0.0.1:5000             # in another

Both run from the repository's root.
"""

from __future__ import annotations

import asyncio
import sys
import zlib

from gateway import Client, TaskFailed
from node import Context, GiveUp, task


@task("images.thumbnail", queue="images", timeout=60, max_attempts=5)
def thumbnail(context: Context, pixels: bytes, width_px: int, every: int = 4) -> bytes:
    """Take every so many pixels of a grey picture, in both directions; PNG's own packing."""
    if not pixels or len(pixels) % width_px:
        raise GiveUp(f"{len(pixels)} pixels are no rows of {width_px}")  # Trying again is vain.
    rows = [pixels[start : start + width_px] for start in range(0, len(pixels), width_px)]
    small = []
    for number, row in enumerate(rows[::every]):
        if context.is_cancelled:
            break
        small.append(row[::every])
        context.progress({"rows": number + 1})
    return zlib.compress(b"".join(small))


async def make_thumbnails(client: Client, pictures: list[bytes], width_px: int) -> list[bytes]:
    """Submit all, each of which survives any one node, and wait for them together."""
    # Wrong arguments fail here and in your editor, by type, before anything is sent.
    handles = await client.submit_many(
        [thumbnail.submission(picture, width_px=width_px) for picture in pictures]
    )
    return list(await asyncio.gather(*(handle.result(timeout=60) for handle in handles)))


async def main(urls: list[str]) -> None:
    """Make a hundred, urgently, and one that cannot be made."""
    pictures = [bytes((x * shade) % 256 for x in range(64 * 64)) for shade in range(100)]
    async with Client(urls) as client:
        made = await make_thumbnails(client, pictures, width_px=64)
        sys.stdout.write(f"{len(made)} thumbnails, {sum(map(len, made)):,} bytes\n")

        broken = await client.submit(thumbnail.using(priority="high"), b"torn", width_px=64)
        try:
            await broken.result(timeout=60)
        except TaskFailed as failed:
            sys.stdout.write(f"{failed}\n")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:] or ["http://127.0.0.1:5000"]))
