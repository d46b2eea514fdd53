"""Requests to a server follow the chat template, or the configuration if there is no tokenizer."""

from pathlib import Path
from typing import Any

import pytest
from tokenizers import AddedToken
from transformers import AutoTokenizer
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from tests.support.served import served_config
from trainer.config import Config
from trainer.data.chat_setup import make_request_setup
from trainer.errors import FormatError

NOWHERE = "data.tokenizer=./nowhere"


def made(cfg: Config) -> tuple[str, dict[str, Any], bool]:
    setup = make_request_setup(cfg)
    return setup.fmt.name, dict(setup.template_kwargs), setup.keep_special_tokens


def test_format_and_template_arguments_come_from_the_configured_template(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert made(served_config(tmp_path)) == ("hermes", {}, False)
    assert not caplog.messages


def test_requests_carry_the_template_arguments_of_training(tmp_path: Path, tokenizer: PreTrainedTokenizerBase) -> None:
    template = tokenizer.get_chat_template(tools=[{}])
    path = tmp_path / "thinking.jinja"
    path.write_text(
        "{% if enable_thinking is defined and enable_thinking %}think{% endif %}" + template, encoding="utf-8"
    )
    cfg = served_config(tmp_path, f"model.chat_template_path={path}")
    assert made(cfg)[1] == {"enable_thinking": False}
    cfg = served_config(
        tmp_path, f"model.chat_template_path={path}", "data.chat_template_kwargs={enable_thinking: true}"
    )
    assert made(cfg)[1] == {"enable_thinking": True}


def test_the_tokenizer_in_the_run_folder_replaces_a_missing_configured_one(
    tmp_path: Path, tokenizer: PreTrainedTokenizerBase
) -> None:
    tokenizer.save_pretrained(tmp_path)
    assert made(served_config(tmp_path, NOWHERE))[0] == "hermes"


def test_without_any_tokenizer_the_format_must_be_configured(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(FormatError, match=r"no tokenizer .*nowhere.* set eval\.tool_call_format to one of hermes"):
        made(served_config(tmp_path, NOWHERE))
    kwargs = "data.chat_template_kwargs={thinking: false}"
    cfg = served_config(tmp_path, NOWHERE, "eval.tool_call_format=mistral", kwargs)
    assert made(cfg) == ("mistral", {"thinking": False}, False)
    assert "sent as configured" in caplog.text


def test_special_tokens_that_mark_calls_are_detected(tmp_path: Path, embedded_folder: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(embedded_folder)
    tokenizer.add_tokens(
        [AddedToken(mark, special=True) for mark in ("<tool_call>", "</tool_call>")], special_tokens=True
    )
    tokenizer.save_pretrained(tmp_path / "special")
    assert made(served_config(tmp_path, f"data.tokenizer={tmp_path / 'special'}"))[2]
