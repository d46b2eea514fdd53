"""Numbers that JSON can express."""

import math
from typing import Any


def finite(value: Any) -> Any:
    """Return a JSON value with null in place of every number that is not finite, which JSON cannot express.

    >>> finite({"loss": float("nan"), "steps": [1, float("inf")]})
    {'loss': None, 'steps': [1, None]}
    """
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return value
