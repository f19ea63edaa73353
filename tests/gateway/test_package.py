"""What `gateway` offers to import from itself."""

from __future__ import annotations

import pytest

import gateway


@pytest.mark.parametrize("name", gateway.__all__)
def test_what_is_offered_is_there(name: str) -> None:
    assert getattr(gateway, name).__name__ == name


def test_what_is_not_offered_is_missed_as_usual() -> None:
    with pytest.raises(AttributeError, match="'gateway' has no attribute 'Klient'"):
        _ = gateway.Klient
