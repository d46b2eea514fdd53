"""Read rows of public data layouts as conversations in one canonical form. Tokenizes nothing and loads no file."""

from trainer.layouts.detect import Detected, detect_layout
from trainer.layouts.layout import Layout
from trainer.layouts.registry import get_layout, layouts

__all__ = [
    "Detected",
    "Layout",
    "detect_layout",
    "get_layout",
    "layouts",
]
