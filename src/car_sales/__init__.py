"""The example domain: a car dealership. Copy this package to start a domain of your own."""

from .data_prep import build_datasets, open_rows, read_turns, tokenize_with_role_spans

__all__ = ["build_datasets", "open_rows", "read_turns", "tokenize_with_role_spans"]
