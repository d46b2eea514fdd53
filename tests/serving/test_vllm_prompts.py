"""The comparison with a real vLLM: its models, its conversations and its verdict, without starting vLLM."""

import dataclasses
from pathlib import Path

import pytest
from template_samples import SAMPLES
from transformers import AutoConfig
from vllm_prompts import FAMILIES, Outcome, examples, main, make_plan

from tests.support.chat import stock_template, tokenizer_for
from trainer.chat import ChatEncoder
from trainer.serving.vllm import vllm_arguments


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models") / "chatml"


def test_the_tiny_model_is_served_as_a_merged_model_of_a_run_is(folder: Path) -> None:
    plan = make_plan("chatml", FAMILIES["chatml"], None, folder)
    words = vllm_arguments(plan, files=folder, host="127.0.0.1", port=1)
    assert words[:6] == ["serve", str(folder), "--served-model-name", "chatml", "--tokenizer", str(folder)]
    assert words[words.index("--tool-call-parser") + 1] == "tool_sft_hermes"
    assert words[words.index("--chat-template") + 1] == str(folder / "chat_template.jinja")
    assert "--enable-lora" not in words
    assert AutoConfig.from_pretrained(folder).vocab_size == len(plan.chat.tokenizer)


def test_template_arguments_of_a_family_reach_the_server(tmp_path: Path) -> None:
    family = dataclasses.replace(FAMILIES["llama3_1"], tokenizer=None, template_kwargs={"date_string": "26 Jul 2024"})
    plan = make_plan("llama", family, None, tmp_path / "llama")
    assert plan.chat.encoder.template_kwargs == {"date_string": "26 Jul 2024"}
    assert "--default-chat-template-kwargs" in vllm_arguments(plan, files=tmp_path, host="h", port=1)


def test_every_assistant_turn_of_every_conversation_is_compared() -> None:
    left_out: dict[str, str] = {}
    encoder = ChatEncoder(tokenizer_for(stock_template("qwen3")))
    turns = list(examples(encoder, left_out))
    assert set(left_out) == {"reasoning"}
    assert {turn.session_id for turn in turns} > {sample.session_id for sample in SAMPLES} - {"reasoning"}
    assert len(turns) >= 20
    assert all(turn.prompt_ids == tuple(encoder.prompt_ids(turn.messages, turn.tools, day=turn.day)) for turn in turns)


def test_conversations_that_a_template_cannot_write_are_left_out_with_the_reason() -> None:
    left_out: dict[str, str] = {}
    turns = list(examples(ChatEncoder(tokenizer_for(stock_template("gemma3"))), left_out))
    assert len(turns) >= 20
    assert not any(turn.tools for turn in turns)
    assert "tool schemas" in left_out["parallel calls"]


def test_only_prompts_that_are_equal_token_for_token_pass() -> None:
    equal = Outcome("chatml", (), 4, 4, 4, ("response",))
    assert equal.passes
    assert not dataclasses.replace(equal, n_equal_ids=3).passes
    assert not dataclasses.replace(equal, n_turns=0, n_equal_ids=0).passes


def test_a_wrong_family_or_missing_tokenizers_are_refused_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, said in ((["lama"], "unknown family lama"), (["qwen3"], "--tokenizers DIR")):
        with pytest.raises(SystemExit):
            main(["--vllm", "vllm", *arguments])
        assert said in capsys.readouterr().err


def test_a_template_without_calls_is_compared_on_plain_conversations(tmp_path: Path) -> None:
    family = dataclasses.replace(FAMILIES["gemma3"], tokenizer=None)
    plan = make_plan("gemma3", family, None, tmp_path / "gemma3")
    assert plan.chat.fmt.name == "hermes"
