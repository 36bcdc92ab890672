import typing
from typing import Any

import pytest

from bench.efficiency.records import SCHEMA_VERSION, Record, Status

plain_values: dict[Any, Any] = {
    str: "x",
    int: 7,
    int | None: None,
    float: 1.5,
    float | None: None,
    bool: True,
    bool | None: None,
    Status: "oom",
}


@pytest.fixture
def record() -> Record:
    values = {name: plain_values[declared] for name, declared in typing.get_type_hints(Record).items()}
    return Record(**(values | {"schema_version": SCHEMA_VERSION}))
