"""One call of AWS's API."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Call:
    """A service and operation in the spelling of its model, and the parameters."""

    service: str
    operation: str
    parameters: dict[str, Any]
