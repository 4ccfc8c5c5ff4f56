"""Proofs that are off: none is begun by schedule."""

import asyncio
from typing import Any, cast

import pytest

from drystone.service.calls.proving import Proving


class Untouched:
    """Operations of which nothing may be used."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(name)


def test_no_proof_is_begun_by_schedule_unless_the_configuration_allows_it() -> None:
    operations = cast(Any, Untouched())
    asyncio.run(Proving(operations=operations, allowed=False, root=True).begin_due())
    with pytest.raises(AssertionError, match="begin"):
        asyncio.run(Proving(operations=operations, allowed=True, root=True).begin_due())
