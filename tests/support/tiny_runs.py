"""Run folders of tiny random models, and servers in threads, for the tests of serving."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from tests.support.quick import QUICKSTART, quick_overrides
from trainer.config import Config, config_to_yaml, load_config
from trainer.lora_model import add_lora, load_base_model
from trainer.serving.local.limits import Limits
from trainer.serving.local.server import make_server
from trainer.serving.local.service import LocalService
from trainer.tokenizer import load_tokenizer
from trainer.training.finished_run import FinishedRun, read_run


def make_run(model: Path, folder: Path, *overrides: str, scale: float = 0.5) -> FinishedRun:
    """Write a run folder whose adapter has random weights, large enough to change every answer."""
    cfg = load_config(QUICKSTART, [*quick_overrides(model, folder), *overrides])
    adapted = add_lora(load_base_model(cfg), cfg.lora)
    torch.manual_seed(1)
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=scale)
    adapted.save_pretrained(str(folder))
    load_tokenizer(cfg).save_pretrained(folder)
    write_config(folder, cfg)
    return read_run(folder)


def write_config(folder: Path, cfg: Config) -> None:
    """Return the resolved configuration of a run folder."""
    (folder / "config.resolved.yaml").write_text(config_to_yaml(cfg), encoding="utf-8")


@contextmanager
def serving(service: LocalService, **limits: Any) -> Iterator[str]:
    """The address of a server that runs in a thread, with the default limits or others."""
    server = make_server(service, host="127.0.0.1", port=0, limits=Limits(**limits))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


class ScriptedEngine:
    """Replaces `LocalEngine`, and always answers with the same text."""

    def __init__(self, tokenizer: Any, text: str, finish_reason: Any = "stop") -> None:
        self.token_ids = tuple(tokenizer(text, add_special_tokens=False)["input_ids"])
        self.finish_reason = finish_reason
        self.asked: list[tuple[bool, Any]] = []

    def generate(self, prompt_ids: Any, settings: Any, *, adapted: bool, on_token: Any = lambda ids: None) -> Any:
        """Yield the scripted answer, token by token."""
        from trainer.serving.local.engine import Generated

        self.asked.append((adapted, settings))
        for end in range(1, len(self.token_ids) + 1):
            on_token(self.token_ids[:end])
        return Generated(self.token_ids, self.finish_reason, 0)
