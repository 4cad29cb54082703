"""Cases that are read at collection are read by libyaml.

Takes: the collection of a test run. Gives: the same values in a tenth of the time, which every
worker spends before its first test. Never changes how anything is read in a test.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import IO, Any

import pytest
import yaml


def _quick(stream: str | bytes | IO[Any]) -> Any:  # noqa: ANN401 - as in the package
    return yaml.load(stream, yaml.CSafeLoader)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Read quickly for as long as it lasts, where the package was built with libyaml."""
    with pytest.MonkeyPatch.context() as patch:
        if yaml.__with_libyaml__:
            patch.setattr(yaml, "safe_load", _quick)
        return (yield)
