"""Turn a domain's raw rows into proven rows of tokens, and list the turns to judge."""

from trainer.config import as_config
from trainer.data.build import assemble_datasets, tokenize_session
from trainer.data.bundle import DatasetBundle
from trainer.data.chat_setup import pick_format
from trainer.data.sessions import read_eval_turns

__all__ = ["DatasetBundle", "as_config", "assemble_datasets", "pick_format", "read_eval_turns", "tokenize_session"]
