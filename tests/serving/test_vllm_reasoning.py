"""vLLM gets a reasoning parser only if the run trained reasoning, and only one that loses no answer."""

import dataclasses
import json
from pathlib import Path

import pytest

from tests.support.chat import own_template, stock_template, tokenizer_for
from tests.support.tiny_runs import make_run
from trainer.chat import ChatEncoder
from trainer.serving.plan import ServePlan, plan_serving
from trainer.serving.reasoning import ReasoningTurns, reasoning_parser, reasoning_turns, writes_empty_block
from trainer.serving.vllm import vllm_arguments
from trainer.training.finished_run import FinishedRun

THINK = ("<think>", "</think>")
GEMMA = ("<|channel>thought", "<channel|>")
CHATML = "<|im_start|>assistant\n"


@pytest.fixture
def run(tiny_model_folder: Path, tmp_path: Path) -> FinishedRun:
    return make_run(tiny_model_folder, tmp_path / "carsales")


def count(run: FinishedRun, *, trained: int, reasoning: int) -> None:
    """Write the metrics of a run that trained these turns."""
    train = {"n_trained_turns": trained, "n_reasoning_turns": reasoning, "n_rows": 4}
    (run.path / "metrics.json").write_text(json.dumps({"final": {}, "data": {"train": train, "eval": {}}}))


def served_with(plan: ServePlan) -> str | None:
    words = vllm_arguments(plan, files=Path("stops"), host="h", port=1)
    return words[words.index("--reasoning-parser") + 1] if "--reasoning-parser" in words else None


def test_a_prompt_that_opens_the_block_needs_no_answer_to_open_it() -> None:
    assert reasoning_parser(THINK, CHATML + "<think>\n") == "qwen3"
    assert reasoning_parser(("<seed:think>", "</seed:think>"), "<seed:bos>assistant\n<seed:think>") == "seed_oss"


def test_a_parser_that_takes_every_answer_as_reasoning_is_used_only_if_every_answer_reasons() -> None:
    assert reasoning_parser(THINK, CHATML) is None
    assert reasoning_parser(THINK, CHATML, every_answer=True) == "qwen3"


def test_a_prompt_that_has_closed_the_block_leaves_no_reasoning_to_read() -> None:
    assert reasoning_parser(THINK, CHATML + "<think>\n\n</think>\n\n", every_answer=True) is None


def test_a_parser_that_keeps_answers_without_reasoning_is_used_with_its_own_call_parser() -> None:
    assert reasoning_parser(GEMMA, "<|turn>model\n", call_parser="gemma4") == "gemma4"
    assert reasoning_parser(GEMMA, "<|turn>model\n", call_parser="hermes") is None
    assert reasoning_parser(("[THINK]", "[/THINK]"), "[/INST]", call_parser="mistral") == "mistral"
    assert reasoning_parser(("[THINK]", "[/THINK]"), "[/INST][THINK]", call_parser="mistral") is None


def test_markers_that_no_parser_knows_get_none() -> None:
    assert reasoning_parser(("<mind>", "</mind>"), CHATML, every_answer=True) is None


@pytest.mark.parametrize(
    ("template", "kwargs", "always"),
    [
        ("qwen3", {"enable_thinking": True}, True),
        ("glm4moe", {"enable_thinking": True}, True),
        ("lfm2_2_5", {}, False),
        ("gemma3", {}, False),
    ],
)
def test_a_template_shows_whether_answers_without_reasoning_have_an_empty_block(
    template: str, kwargs: dict[str, bool], always: bool
) -> None:
    encoder = ChatEncoder(tokenizer_for(stock_template(template)), template_kwargs=kwargs)
    assert writes_empty_block(encoder, THINK) == always


def test_our_own_template_writes_no_empty_block() -> None:
    assert not writes_empty_block(ChatEncoder(tokenizer_for(own_template())), THINK)


def test_a_run_without_trained_reasoning_is_served_without_parser_and_note(run: FinishedRun) -> None:
    assert reasoning_turns(run.path / "metrics.json") == ReasoningTurns(0, 0)
    assert served_with(plan_serving(run)) is None
    count(run, trained=9, reasoning=0)
    plan = plan_serving(run)
    assert plan.reasoning == ReasoningTurns(9, 0)
    assert served_with(plan) is None
    assert plan.notes() == []


def test_a_run_whose_every_turn_reasons_is_served_with_the_parser(run: FinishedRun) -> None:
    count(run, trained=9, reasoning=9)
    plan = plan_serving(run)
    assert served_with(plan) == "qwen3"
    assert plan.notes() == []


def test_a_run_in_which_some_turns_reason_gets_a_note_instead(run: FinishedRun) -> None:
    count(run, trained=9, reasoning=4)
    plan = plan_serving(run)
    assert served_with(plan) is None
    (note,) = plan.notes()
    assert "4 of 9" in note
    assert "message.content" in note
    (other,) = dataclasses.replace(plan, model_type="gpt_oss").notes()
    assert "harmony" in other


@pytest.mark.parametrize("text", ["", "[]", '{"data": 3}', '{"data": {"train": {"n_reasoning_turns": -1}}}'])
def test_metrics_without_usable_counts_mean_no_reasoning(tmp_path: Path, text: str) -> None:
    (tmp_path / "metrics.json").write_text(text)
    assert reasoning_turns(tmp_path / "metrics.json") == ReasoningTurns(0, 0)
