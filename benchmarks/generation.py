"""Answer turns with plain `model.generate`, for the other benchmarks. Measures nothing."""

from collections.abc import Sequence

import torch
from finished_run import LoadedRun
from transformers import GenerationConfig

from trainer.util.progress import progress_bar

TokenIds = tuple[int, ...]


def generate_all(run: LoadedRun, batch_size: int, side: str) -> list[TokenIds]:
    """The greedy answers of `model.generate` to all turns, in the order of the examples."""
    longest_first = sorted(range(len(run.examples)), key=lambda index: -len(run.examples[index].prompt_ids))
    answers: dict[int, TokenIds] = {}
    with progress_bar(side, total=len(run.examples), unit="turns") as advance:
        for start in range(0, len(longest_first), batch_size):
            batch = longest_first[start : start + batch_size]
            prompts = [run.examples[index].prompt_ids for index in batch]
            answers |= zip(batch, generate(run, prompts), strict=True)
            advance(len(batch))
    return [answers[index] for index in range(len(run.examples))]


def generate(run: LoadedRun, prompts: Sequence[TokenIds]) -> list[TokenIds]:
    """The greedy answers to prompts in one left-padded batch, without stop tokens."""
    width = max(map(len, prompts))
    ids = torch.tensor([[run.pad_token_id] * (width - len(prompt)) + list(prompt) for prompt in prompts])
    mask = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts])
    config = GenerationConfig(
        max_new_tokens=run.settings.max_new_tokens,
        do_sample=False,
        eos_token_id=sorted(run.settings.stop_token_ids),
        pad_token_id=run.pad_token_id,
    )
    device = run.model.device
    with torch.inference_mode():
        output = run.model.generate(input_ids=ids.to(device), attention_mask=mask.to(device), generation_config=config)
    return [before_stop(row, run.settings.stop_token_ids) for row in output[:, width:].tolist()]


def before_stop(ids: Sequence[int], stop_token_ids: frozenset[int]) -> TokenIds:
    """The tokens before the first stop token."""
    end = next((index for index, token in enumerate(ids) if token in stop_token_ids), len(ids))
    return tuple(ids[:end])
