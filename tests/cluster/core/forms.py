"""Which form of the machine these tests are about: its sources, or what was compiled of them."""

from inspect import isfunction

import pytest

from cluster.core.machine import Machine

IS_COMPILED = not isfunction(Machine.apply_entry)

sources_only = pytest.mark.skipif(
    IS_COMPILED, reason="about the form of the sources, or with values of types that C refuses"
)
