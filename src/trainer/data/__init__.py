"""Turn a domain's raw rows into proven rows of tokens, and list the turns to judge."""

from trainer.config import as_config
from trainer.data.build import assemble_datasets, read_eval_turns, tokenize_session
from trainer.data.bundle import DatasetBundle
from trainer.data.chat_setup import pick_format
from trainer.data.domains import LivePrompt, live_prompt
from trainer.data.opening import OpenRows
from trainer.data.sessions import messages_of, open_table

__all__ = [
    "DatasetBundle",
    "LivePrompt",
    "OpenRows",
    "as_config",
    "assemble_datasets",
    "live_prompt",
    "messages_of",
    "open_table",
    "pick_format",
    "read_eval_turns",
    "tokenize_session",
]
