"""Evaluate a model in process: decode the judged turns, parse their calls, score them, and measure perplexity.

The same scorer scores served models and saved predictions.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import nn
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from trainer.calibration.opening_tokens import opening_tokens
from trainer.eval_metrics import Scores, TokenLoss, make_prediction, perplexity, score
from trainer.generation.settings import DecodeSettings
from trainer.generation.stem import find_stem, stem_length
from trainer.generation.teacher_forcing import DecodedTurn, decode_turns, plan_units, within_context
from trainer.kernels.blocked_attention import attend_in_blocks
from trainer.lora_model import no_gradients
from trainer.loss import SupervisedLoss, n_supervised
from trainer.tokenizer import decode_text
from trainer.tool_calls import ToolCallFormat
from trainer.types import CallMargins, Prediction, Tool, ToolEvalExample
from trainer.util.progress import progress_bar


@dataclass(frozen=True, slots=True)
class RowLoss:
    """Summed negative log likelihood (nats) of some supervised tokens, and their number."""

    nll: float = 0.0
    n_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The result of one evaluation. `metrics` is flat and ready for JSON.

    `margins` are those of a call in each turn; see `DecodedTurn`.
    """

    predictions: tuple[Prediction, ...]
    scores: Scores
    metrics: dict[str, float | None]
    margins: tuple[CallMargins | None, ...] = ()


class ToolCallEvaluator:
    """Judges a model on the turns of `examples`; created once per run and used before, during and after training."""

    def __init__(
        self,
        examples: Sequence[ToolEvalExample],
        tools: Sequence[Tool],
        *,
        tokenizer: PreTrainedTokenizerBase,
        fmt: ToolCallFormat,
        settings: DecodeSettings,
    ) -> None:
        self.examples = tuple(examples)
        self.tools = tuple(tools)
        self.settings = settings
        self._tokenizer, self._fmt = tokenizer, fmt
        self._in_calls = [self._call_tokens(example) for example in self.examples]

    def with_settings(self, settings: DecodeSettings, examples: Sequence[ToolEvalExample] | None = None) -> Self:
        """Return an evaluator that decodes with other settings; of other examples, if they are given."""
        chosen = self.examples if examples is None else examples
        return type(self)(chosen, self.tools, tokenizer=self._tokenizer, fmt=self._fmt, settings=settings)

    def decode(self, model: nn.Module, *, share: int, n_shares: int, title: str) -> dict[int, DecodedTurn]:
        """Decode one of `n_shares` shares of the examples; return results by index. The progress bar has the `title`.

        All shares together are the same for any `n_shares`, but for tokens between which rounding decides.
        """
        fitting = within_context(self.examples, self.settings)
        n_stem = stem_length(model, fitting)
        units = plan_units(self.examples, self.settings, n_stem=n_stem, n_shares=n_shares)[share::n_shares]
        decoded: dict[int, DecodedTurn] = {}
        with progress_bar(title, total=sum(map(len, units)), unit="turns") as advance:

            def tell(note: str) -> None:
                advance(0, note=note)

            tell("reading what all sessions begin with")
            stem = find_stem(model, fitting) if units else None
            for unit in units:
                examples = [self.examples[index] for index in unit]
                turns = decode_turns(model, examples, self.settings, stem=stem, on_done=advance, on_note=tell)
                decoded |= zip(unit, turns, strict=True)
        return decoded

    def evaluate(
        self, decoded: Sequence[DecodedTurn], *, other_rows: Sequence[RowLoss] = (), rows_hold_turns: bool = False
    ) -> Evaluation:
        """Score the decoded turns of all examples, given in the order of the examples.

        `other_rows` are the losses of evaluation rows without a judged turn; they count in `perplexity` and `loss`.
        With `rows_hold_turns` they are the losses of all rows, and the judged turns do not count a second time.
        """
        predictions = tuple(
            self._prediction(example, turn) for example, turn in zip(self.examples, decoded, strict=True)
        )
        scores = score(predictions, self.tools)
        loss = sum((self._token_loss(index, turn) for index, turn in enumerate(decoded)), start=TokenLoss())
        rows = list(other_rows)
        if not rows_hold_turns:
            rows += [RowLoss(loss.call_nll, loss.n_call_tokens), RowLoss(loss.prose_nll, loss.n_prose_tokens)]
        nll, n_tokens = math.fsum(row.nll for row in rows), sum(row.n_tokens for row in rows)
        shares = {"drafted_share": sum(turn.accepted for turn in decoded) / len(decoded) if decoded else None}
        totals = {"loss": nll / n_tokens if n_tokens else None, "perplexity": perplexity(nll, n_tokens)}
        margins = tuple(turn.margins for turn in decoded)
        return Evaluation(predictions, scores, {**scores.metrics, **loss.metrics(), **totals, **shares}, margins)

    def opening_tokens(self) -> dict[int, str]:
        """Return the tokens that begin the calls of gold, with their texts."""

        def decode(ids: Sequence[int]) -> str:
            return decode_text(self._tokenizer, ids)

        ids = opening_tokens(self.examples, decode=decode, fmt=self._fmt)
        return {token: decode([token]) for token in ids}

    def _prediction(self, example: ToolEvalExample, turn: DecodedTurn) -> Prediction:
        text = decode_text(self._tokenizer, turn.token_ids)
        return make_prediction(example, text, fmt=self._fmt, finish_reason=turn.finish_reason)

    def _token_loss(self, index: int, turn: DecodedTurn) -> TokenLoss:
        calls = [nll for nll, inside in zip(turn.nll, self._in_calls[index], strict=False) if inside]
        n_prose = len(turn.nll) - len(calls)
        return TokenLoss(sum(calls), len(calls), sum(turn.nll) - sum(calls), n_prose)

    def _call_tokens(self, example: ToolEvalExample) -> list[bool]:
        """For each target token, whether it is part of a call."""
        ids = example.target_ids
        if not example.gold_calls:
            return [False] * len(ids)
        ends = [len(decode_text(self._tokenizer, ids[: n + 1])) for n in range(len(ids))]
        text = decode_text(self._tokenizer, ids[:-1])
        spans = [(call.start, call.end) for call in self._fmt.parse(text, tools=example.tools).calls]
        starts = [0, *ends[:-1]]
        return [
            any(start < span_end and end > span_start for span_start, span_end in spans)
            for start, end in zip(starts, ends, strict=True)
        ]


def row_losses(
    model: nn.Module,
    batches: Iterable[Mapping[str, torch.Tensor]],
    *,
    on_done: Callable[[int], None] = lambda n_batches: None,
) -> list[RowLoss]:
    """The summed loss of each padded batch of rows. `on_done` receives the number of batches that just finished."""
    model.eval()
    device = next(model.parameters()).device
    loss, losses = SupervisedLoss(model), []
    for batch in batches:
        on_device = {key: value.to(device) for key, value in batch.items()}
        with no_gradients(model), attend_in_blocks(model):
            nll = float(loss(model, on_device, use_cache=False))
        losses.append(RowLoss(nll, int(n_supervised(batch))))
        on_done(1)
    return losses
