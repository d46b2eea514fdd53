"""What the chat template says about asking a server, and what is done where there is no tokenizer."""

from pathlib import Path

import pytest
from tokenizers import AddedToken
from transformers import AutoTokenizer
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from tests.support.served import served_config
from trainer.config import Config
from trainer.data.chat_setup import ModelSide, read_model_side
from trainer.errors import FormatError

NOWHERE = "data.tokenizer=./nowhere"


def read(cfg: Config) -> tuple[ModelSide, list[str]]:
    told: list[str] = []
    return read_model_side(cfg, notify=told.append), told


def test_format_and_switches_are_read_off_the_configured_template(tmp_path: Path) -> None:
    side, told = read(served_config(tmp_path))
    assert (side.fmt.name, side.template_kwargs, side.marks_are_special) == ("hermes", {}, False)
    assert told == []


def test_switches_that_the_template_takes_are_those_of_training(
    tmp_path: Path, tokenizer: PreTrainedTokenizerBase
) -> None:
    template = tokenizer.get_chat_template(tools=[{}])
    path = tmp_path / "thinking.jinja"
    path.write_text(
        "{% if enable_thinking is defined and enable_thinking %}think{% endif %}" + template, encoding="utf-8"
    )
    cfg = served_config(tmp_path, f"model.chat_template_path={path}")
    assert read(cfg)[0].template_kwargs == {"enable_thinking": False}
    cfg = served_config(
        tmp_path, f"model.chat_template_path={path}", "data.chat_template_kwargs={enable_thinking: true}"
    )
    assert read(cfg)[0].template_kwargs == {"enable_thinking": True}


def test_the_tokenizer_in_the_run_folder_serves_where_the_configured_one_is_missing(
    tmp_path: Path, tokenizer: PreTrainedTokenizerBase
) -> None:
    tokenizer.save_pretrained(tmp_path)
    assert read(served_config(tmp_path, NOWHERE))[0].fmt.name == "hermes"


def test_without_any_tokenizer_the_format_has_to_be_named(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"no tokenizer .*nowhere.* set eval\.tool_call_format to one of hermes"):
        read(served_config(tmp_path, NOWHERE))
    kwargs = "data.chat_template_kwargs={thinking: false}"
    side, told = read(served_config(tmp_path, NOWHERE, "eval.tool_call_format=mistral", kwargs))
    assert (side.fmt.name, side.template_kwargs, side.marks_are_special) == ("mistral", {"thinking": False}, False)
    assert "sent as configured" in told[0]


def test_marks_that_are_special_tokens_are_noticed(tmp_path: Path, embedded_folder: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(embedded_folder)
    tokenizer.add_tokens(
        [AddedToken(mark, special=True) for mark in ("<tool_call>", "</tool_call>")], special_tokens=True
    )
    tokenizer.save_pretrained(tmp_path / "special")
    side, _ = read(served_config(tmp_path, f"data.tokenizer={tmp_path / 'special'}"))
    assert side.marks_are_special
