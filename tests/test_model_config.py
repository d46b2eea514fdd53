"""The tokenizer's ids fit the base model's embedding, or the run stops before it prepares data."""

import re
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer, Gemma3TextConfig, LlamaConfig, PreTrainedTokenizerFast
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from tests.support.chat import tokenizer_for
from tests.support.quick import QUICKSTART, quick_overrides, tiny_model
from tests.support.tokenizers import packaged_tokenizer_folder
from trainer.commands.main import main
from trainer.config import load_config
from trainer.errors import ModelError
from trainer.model_config import check_embedding, check_ids
from trainer.training.train import train_run


def sized(n_tokens: int) -> LlamaConfig:
    return LlamaConfig(vocab_size=n_tokens)


def with_unused(template: str = "{{ messages }}") -> PreTrainedTokenizerFast:
    """Return a tokenizer whose last token is a special one that nothing uses."""
    tokenizer = tokenizer_for(template, "byte_level")
    tokenizer.add_special_tokens({"additional_special_tokens": ["<image>"]})
    return tokenizer


def test_a_tokenizer_that_fits_lacks_nothing() -> None:
    tokenizer = with_unused()
    assert check_embedding(tokenizer, sized(len(tokenizer)), name="m") == {}
    assert check_embedding(tokenizer, sized(len(tokenizer) + 100), name="m") == {}


def test_ids_beyond_the_embedding_are_refused_with_both_sizes() -> None:
    tokenizer = with_unused()
    size = len(tokenizer) - 40
    with pytest.raises(ModelError, match=rf"^m: the tokenizer has {len(tokenizer)} token ids.* only {size} \(.*, …\)"):
        check_embedding(tokenizer, sized(size), name="m")


def test_a_special_token_that_nothing_uses_may_be_missing() -> None:
    tokenizer = with_unused()
    last = len(tokenizer) - 1
    assert check_embedding(tokenizer, sized(last), name="m") == {last: "<image>"}


@pytest.mark.parametrize(
    "template", ["{{ messages }}<image>", {"default": "{{ messages }}", "tool_use": "<image>{{ messages }}"}]
)
def test_a_special_token_of_the_template_may_not_be_missing(template: Any) -> None:
    tokenizer = with_unused()
    tokenizer.chat_template = template
    with pytest.raises(ModelError, match="<image>"):
        check_embedding(tokenizer, sized(len(tokenizer) - 1), name="m")


@pytest.mark.parametrize("role", ["bos_token", "eos_token", "pad_token", "unk_token"])
def test_a_special_token_of_the_tokenizer_may_not_be_missing(role: str) -> None:
    tokenizer = with_unused()
    setattr(tokenizer, role, "<image>")
    with pytest.raises(ModelError, match="<image>"):
        check_embedding(tokenizer, sized(len(tokenizer) - 1), name="m")


def test_a_plain_added_token_may_not_be_missing() -> None:
    tokenizer = with_unused()
    tokenizer.add_tokens(["plainword"])
    with pytest.raises(ModelError, match="plainword"):
        check_embedding(tokenizer, sized(len(tokenizer) - 1), name="m")


def test_gemma_3_has_one_token_more_than_its_text_model() -> None:
    tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(packaged_tokenizer_folder("gemma3"))
    config = Gemma3TextConfig(vocab_size=262144)
    assert check_embedding(tokenizer, config, name="m") == {262144: "<image_soft_token>"}


def test_rows_with_a_token_without_embedding_are_refused() -> None:
    rows: list[dict[str, Any]] = [{"input_ids": [1, 2], "session_id": "a"}, {"input_ids": [1, 9], "session_id": "b"}]
    check_ids(rows, {}, name="m")
    check_ids(rows[:1], {9: "<image>"}, name="m")
    with pytest.raises(ModelError, match=r"^session b: holds the token <image>, which m has no embedding for"):
        check_ids(rows, {9: "<image>"}, name="m")
    with pytest.raises(ModelError, match=r"^row 0: "):
        check_ids([{"input_ids": [9]}], {9: "<image>"}, name="m")


def save_small(folder: Path, tokenizer: PreTrainedTokenizerBase, *, n_missing: int) -> None:
    tiny_model(len(tokenizer) - n_missing).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def test_training_and_check_stop_before_they_read_data(
    tokenizer: PreTrainedTokenizerBase, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_small(tmp_path / "model", tokenizer, n_missing=10)
    overrides = [*quick_overrides(tmp_path / "model", tmp_path / "run"), "data.train_split=nowhere"]
    with pytest.raises(ModelError, match="embedding has only"):
        train_run(load_config(QUICKSTART, overrides))
    flags = [part for key in overrides for part in ("--set", key)]
    assert main(["check", "--config", str(QUICKSTART), *flags]) == 2
    assert "embedding has only" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_training_and_check_refuse_rows_with_a_token_without_embedding(
    tiny_model_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    larger: Any = AutoTokenizer.from_pretrained(tiny_model_folder)
    larger.add_special_tokens({"additional_special_tokens": ["Seestrasse"]})  # a word of the system prompt
    larger.save_pretrained(tmp_path / "larger")
    overrides = [*quick_overrides(tiny_model_folder, tmp_path / "run"), f"data.tokenizer={tmp_path / 'larger'}"]
    reason = "holds the token Seestrasse, which .*tiny-model has no embedding for"
    with pytest.raises(ModelError, match=reason):
        train_run(load_config(QUICKSTART, overrides))
    flags = [part for key in overrides for part in ("--set", key)]
    assert main(["check", "--config", str(QUICKSTART), *flags]) == 2
    assert re.search(reason, capsys.readouterr().err)
    assert not (tmp_path / "run").exists()
