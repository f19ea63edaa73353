"""The machine compiled to C, wherever the installation built it from the very sources that run.

Both forms are one program: the sources of `cluster/core`, compiled by mypyc (`hatch_build.py`). The
same log gives the same state, to the byte, whichever form a node has. Whoever changes a source runs
the source: the compiled form is left alone as soon as one character differs from what it was built
of.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from hashlib import blake2b
from pathlib import Path
from types import ModuleType

GROUP = "quorate_core"
LIBRARY = f"{GROUP}__mypyc"  # All modules are in it, so that their calls need no look-up.
PACKAGE = "quorate_compiled"  # Where the installation put it: what finds them there by their names.
SOURCES = "SOURCES"  # The file there that says what it was built of.
INTERPRETED = "QUORATE_INTERPRETED"  # Set to anything: neither build the compiled form nor use it.


def digest(directory: Path) -> str:
    """What tells these sources from any others."""
    found = blake2b(digest_size=16)
    for path in sorted(directory.glob("*.py")):
        content = path.read_bytes()
        found.update(f"{path.name} {len(content)}\n".encode())
        found.update(content)
    return found.hexdigest()


def available(package: ModuleType) -> str | None:
    """Where what was compiled of these very sources is; None if it is not, or not wanted."""
    if os.environ.get(INTERPRETED):
        return None
    spec, library = importlib.util.find_spec(PACKAGE), importlib.util.find_spec(LIBRARY)
    if spec is None or library is None or library.origin is None:  # Not of this Python, say.
        return None
    for place in spec.submodule_search_locations or ():
        directory = Path(place).resolve()
        if Path(library.origin).resolve().parent != directory.parent:
            continue  # Modules of one build would call those of another.
        try:
            built_of = (directory / SOURCES).read_bytes()
        except OSError:
            continue
        if built_of == digest(Path(package.__path__[-1])).encode():
            return str(directory)
    return None


def prefer(package: ModuleType) -> None:
    """Have *package* import its compiled modules, if they are of its sources.

    Modules that were not compiled are found where they were.
    """
    if (place := available(package)) is not None:
        package.__path__.insert(0, place)


def forgo(package: ModuleType) -> None:
    """Have *package* import its sources, which can be changed while they run.

    Too late, once a module of it was imported: half of one form and half of the other is neither.
    """
    if not any(name.startswith(f"{package.__name__}.") for name in sys.modules):
        del package.__path__[:-1]


def is_compiled(package: ModuleType) -> bool:
    """Whether *package* imports compiled modules."""
    return len(package.__path__) > 1
