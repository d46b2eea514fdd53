"""Read rows of public data layouts as conversations in one canonical form. Tokenizes nothing and loads no file."""

from trainer.layouts.arrow_nulls import restore_arguments
from trainer.layouts.conversation import Conversation, with_tools
from trainer.layouts.detect import Detected, detect_layout
from trainer.layouts.layout import Layout
from trainer.layouts.pairing import pair_results
from trainer.layouts.registry import get_layout, layouts

__all__ = [
    "Conversation",
    "Detected",
    "Layout",
    "detect_layout",
    "get_layout",
    "layouts",
    "pair_results",
    "restore_arguments",
    "with_tools",
]
