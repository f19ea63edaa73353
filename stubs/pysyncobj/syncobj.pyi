from collections.abc import Callable
from typing import Any

createJournal: Callable[[Any], Any]
monotonicTime: Callable[[], float]
random: Any
