"""Damage to the disk of a node that has ended, and what the node then asks for.

A program of its own as well, so that it can be run where the disk is, in a container:
`python -m chaos.damage flip|aside DIRECTORY [KIND]` prints what it did. What cannot be done is one
line on standard error, and status 2.
"""

from __future__ import annotations

import sys
from pathlib import Path

from chaos.targets.contract import Kind, Unsupported

SUFFIXES: dict[Kind, str] = {"log": ".log", "snapshot": ".snapshot"}
ASIDE = ".aside-"


def flip_bit(directory: Path, kind: Kind) -> str:
    """Flip a bit in the middle of the oldest file of the log, or of the newest snapshot.

    The middle is what was durable long ago: a node that finds it wrong cannot take it for a write
    that was under way when it ended. The same again is the undo.

    Returns:
        The file's name and the byte's place, such as `00000001.log, byte 4711`.

    Raises:
        Unsupported: there is no such file yet.
    """
    files = sorted(directory.glob(f"*{SUFFIXES[kind]}"))
    if not files or not files[0].stat().st_size:
        raise Unsupported(f"{directory} holds no {kind} yet: there is no bit to flip")
    file = files[0] if kind == "log" else files[-1]
    place = file.stat().st_size // 2
    with file.open("r+b") as opened:
        opened.seek(place)
        [byte] = opened.read(1)
        opened.seek(place)
        opened.write(bytes([byte ^ 1]))
    return f"{file.name}, byte {place}"


def put_aside(directory: Path) -> str:
    """Move all that a node has on its disk into a directory there that no node looks at.

    Returns:
        Where it is now.
    """
    number = 1
    while (aside := directory / f"{ASIDE}{number}").exists():
        number += 1
    found = [path for path in directory.iterdir() if not path.name.startswith(ASIDE)]
    aside.mkdir()
    for path in found:
        path.rename(aside / path.name)
    return aside.name


def main() -> int:
    """Do what the arguments ask for."""
    verb, directory, *kind = sys.argv[1:]
    try:
        if verb == "flip":
            done = flip_bit(Path(directory), "snapshot" if kind == ["snapshot"] else "log")
        else:
            done = put_aside(Path(directory))
    except Unsupported as error:
        sys.stderr.write(f"{error}\n")
        return 2
    sys.stdout.write(done + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
