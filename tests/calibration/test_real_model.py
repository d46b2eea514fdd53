"""With the real small model: margins foresee its decisions, and the largest biases decide all of them."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

import car_sales
from trainer.calibration.fit import decisions, wrong_rates
from trainer.config import Config
from trainer.evaluation import ToolCallEvaluator
from trainer.generation.settings import DecodeSettings
from trainer.generation.teacher_forcing import decode_turns

pytestmark = pytest.mark.slow


def test_a_bias_on_the_opening_decides_whether_the_real_model_calls(
    quick_config: Callable[..., Config], embedded_folder: Path, tokenizer: Any
) -> None:
    bundle = car_sales.build_datasets(quick_config("data.eval_split=test[:1]", "data.n_tool_sessions_eval=1"))
    chat = bundle.chat
    assert chat is not None
    examples = bundle.tool_eval_examples
    model = AutoModelForCausalLM.from_pretrained(embedded_folder, dtype=torch.float32).eval()
    settings = DecodeSettings(frozenset(chat.encoder.stop_token_ids), max_new_tokens=3, max_context_tokens=4096)
    evaluator = ToolCallEvaluator(examples, bundle.global_tools, tokenizer=tokenizer, fmt=chat.fmt, settings=settings)
    (opening,) = evaluator.opening_tokens()

    def decoded(bias: float) -> list[Any]:
        biased = replace(settings, call_token_ids=(opening,), logit_bias={opening: bias})
        return decode_turns(model, examples, biased)

    plain = decoded(0.0)
    margins: list[Any] = [turn.margins for turn in plain]
    assert all(found is not None for found in margins)
    assert {bool(example.gold_calls) for example in examples} == {True, False}
    assert all(turn.token_ids[0] == opening for turn in decoded(100.0))
    assert not any(opening in turn.token_ids for turn in decoded(-100.0))
    turns = decisions(examples, margins)
    assert wrong_rates(turns, 100.0) == (1.0, 1.0)  # an opening at every position breaks the calls as well
    assert wrong_rates(turns, -100.0) == (1.0, 0.0)
    # Where gold's call begins, the first token of the answer follows the margin to the letter.
    at_start = [index for index, example in enumerate(examples) if example.target_ids[0] == opening]
    assert len(at_start) >= 3
    for bias in sorted(-margins[index].call + step for index in at_start for step in (-0.01, 0.01))[::2]:
        found = decoded(bias)
        called = [found[index].token_ids[:1] == (opening,) for index in at_start]
        assert called == [margins[index].call + bias > 0 for index in at_start]
