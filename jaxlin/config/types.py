"""Value types with their allowed range; the range is checked where a config is validated."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, Field

PositiveInt = Annotated[int, Field(gt=0)]
NonNegativeInt = Annotated[int, Field(ge=0)]
PositiveFloat = Annotated[float, Field(gt=0.0)]
NonNegativeFloat = Annotated[float, Field(ge=0.0)]
Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
OpenFraction = Annotated[float, Field(ge=0.0, lt=1.0)]

# Random bits are drawn from 32-bit seeds, in jax and in the data pipeline alike.
Seed = Annotated[int, Field(ge=0, lt=2**32)]

# Each layer is listed before layers are folded into scans.
Depth = Annotated[int, Field(gt=0, le=10_000)]

# Names become file names: no separators, nothing hidden.
NAME = r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}"
Name = Annotated[
    str,
    Field(
        pattern=f"^{NAME}$",
        description="1 to 128 letters, digits, '.', '_' or '-', the first of them no '.'",
    ),
]


def _compiles(pattern: str) -> str:
    try:
        re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(str(error)) from None
    return pattern


Regex = Annotated[str, AfterValidator(_compiles), Field(description="a regular expression")]
