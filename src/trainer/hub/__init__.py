"""Datasets and models by name: a local path, or a repository of the hub at one commit."""

from trainer.hub.failures import hub_failure
from trainer.hub.names import BASE_MODEL, DATASET, PACKAGE_PREFIX, Use, is_local
from trainer.hub.shared_names import share_names, shared_name, with_shared_names
from trainer.hub.sources import (
    Source,
    known_sources,
    pinned,
    resolve_base_model,
    resolve_dataset,
    resolve_tokenizer,
    tokenizer_use,
)

__all__ = [
    "BASE_MODEL",
    "DATASET",
    "PACKAGE_PREFIX",
    "Source",
    "Use",
    "hub_failure",
    "is_local",
    "known_sources",
    "pinned",
    "resolve_base_model",
    "resolve_dataset",
    "resolve_tokenizer",
    "share_names",
    "shared_name",
    "tokenizer_use",
    "with_shared_names",
]
