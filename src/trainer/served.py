"""Score a served model on the turns that training judges: ask, keep, read twice, report. Needs no torch."""

import asyncio
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from trainer.asking import ask_turns
from trainer.config import Config
from trainer.domains import domain_turns, load_domain
from trainer.endpoint import Answer, Endpoint, EndpointSettings, Generation
from trainer.errors import EndpointError
from trainer.eval_metrics import score
from trainer.journal import Journal, TurnKey, key_of
from trainer.model_side import ModelSide, read_model_side
from trainer.predictions import replace_file, write_predictions
from trainer.progress import console, progress_bar
from trainer.served_scores import (
    Reading,
    agreement,
    format_loss,
    latency,
    read_in_training,
    read_twice,
    total,
)
from trainer.sources import read_tools
from trainer.summary import report_markdown
from trainer.types import EvalTurn

LENIENT_FILE = "lenient.jsonl"


@dataclass(frozen=True, slots=True)
class ServedOptions:
    """Which model to ask where, and how.

    An adapter is asked for by its own name, as vLLM has it; `model` is then the base model that must be registered
    beside it. `limit` takes the first turns only. Without `output`, the result lies in the run folder.
    """

    settings: EndpointSettings
    model: str
    lora_name: str | None = None
    output: Path | None = None
    limit: int | None = None
    extra_body: Mapping[str, Any] = field(default_factory=dict)

    @property
    def asked(self) -> str:
        """The name that requests carry."""
        return self.lora_name or self.model

    @property
    def names(self) -> list[str]:
        """All the names that the server must register."""
        return list(dict.fromkeys([self.model, self.asked]))


@dataclass(frozen=True, slots=True)
class ServedResult:
    """Where the result lies, the metrics of each state, and what else people should know."""

    output: Path
    states: Mapping[str, Mapping[str, Any]]
    notes: tuple[str, ...]


class _Asked(NamedTuple):
    answers: dict[TurnKey, Answer]
    n_kept: int
    n_retries: int
    seconds: float


def evaluate_served(cfg: Config, options: ServedOptions) -> ServedResult:
    """Ask a server every turn that is not answered yet, and score all of them.

    Raises `EndpointError` where the server does not offer the model, or answered no turn at all; in the latter case
    the result is written all the same. Other `ToolSftError`s tell what is wrong with configuration, data or folder.
    """
    asyncio.run(_require(options))
    domain = load_domain(cfg.data.load_module)
    turns = domain_turns(domain, cfg)[: options.limit]
    side = read_model_side(cfg, notify=_say)
    folder = options.output or cfg.output_dir / "served" / options.asked.replace("/", "--")
    generation = _generation(cfg, options, side)
    with Journal(folder, asdict(generation) | {"model_of_adapter": options.model}) as journal:
        journal.write_tools(read_tools(cfg.data.tools_path))
        try:
            asked = asyncio.run(_ask(turns, journal, options.settings, generation=generation, side=side))
        except KeyboardInterrupt:
            _say(f"what was answered is kept in {journal.path}; the same command goes on from there")
            raise
        return _report(cfg, turns, journal, asked=asked, options=options, side=side)


async def _require(options: ServedOptions) -> None:
    async with Endpoint(options.settings) as endpoint:
        await endpoint.require(options.names)


def _generation(cfg: Config, options: ServedOptions, side: ModelSide) -> Generation:
    return Generation(
        model=options.asked,
        max_tokens=cfg.eval.max_new_tokens_eval,
        temperature=cfg.eval.temperature,
        chat_template_kwargs=dict(side.template_kwargs),
        keep_special_tokens=side.marks_are_special,
        extra_body=dict(options.extra_body),
    )


async def _ask(
    turns: Sequence[EvalTurn],
    journal: Journal,
    settings: EndpointSettings,
    *,
    generation: Generation,
    side: ModelSide,
) -> _Asked:
    keys = [key_of(turn) for turn in turns]
    answers = {key: journal.answers[key] for key in keys if key in journal.answers}
    open_turns = [turn for key, turn in zip(keys, turns, strict=True) if key not in answers]
    n_kept, n_errors, started = len(answers), 0, time.monotonic()
    if n_kept:
        _say(f"{n_kept} of {len(turns)} turns are answered in {journal.path} already; remove it to ask them anew")
    with progress_bar("Asking the server", total=len(open_turns), unit="turns") as advance:

        def keep(turn: EvalTurn, answer: Answer) -> None:
            nonlocal n_errors
            reading = read_twice(turn, answer, side.fmt)
            journal.add(reading.strict, answer)
            strict = reading.strict
            answers[TurnKey(strict.session_id, strict.turn, strict.context_hash)] = answer
            n_errors += answer.error is not None
            advance(1, note=f"{n_errors} errors" if n_errors else "")

        async with Endpoint(settings, notify=_say) as endpoint:
            await ask_turns(
                endpoint,
                open_turns,
                generation=generation,
                concurrency=settings.n_connections,
                on_answer=keep,
            )
    return _Asked(answers, n_kept, endpoint.n_retries, time.monotonic() - started)


def _report(
    cfg: Config,
    turns: Sequence[EvalTurn],
    journal: Journal,
    *,
    asked: _Asked,
    options: ServedOptions,
    side: ModelSide,
) -> ServedResult:
    """Score, write `metrics.json`, `report.md` and both predictions files."""
    answers = [asked.answers[key_of(turn)] for turn in turns]
    readings = [read_twice(turn, answer, side.fmt) for turn, answer in zip(turns, answers, strict=True)]
    strict_turns, lenient_turns = ([getattr(r, name) for r in readings] for name in Reading._fields)
    tools = read_tools(cfg.data.tools_path)
    strict, lenient = score(strict_turns, tools), score(lenient_turns, tools)
    journal.finish(strict_turns, answers, strict.verdicts)
    write_predictions(journal.folder / LENIENT_FILE, lenient_turns, verdicts=lenient.verdicts)

    loss = format_loss(readings, side.fmt)
    server = _server_facts(answers, asked, options)
    metrics: dict[str, Any] = {"strict": strict.to_state(), "lenient": lenient.to_state()}
    states: dict[str, Mapping[str, Any]] = dict(metrics)
    metrics |= {"format_loss": loss.to_json(), "server": server}
    notes = [_server_line(server)]
    training = read_in_training(cfg.output_dir)
    if training is not None:
        states["in training"] = training.metrics
        agreed = agreement(lenient_turns, lenient, training)
        metrics["in_training"] = agreed.to_json()
        notes += agreed.lines()
    notes += [advice] if (advice := loss.advice()) else []
    failures = Counter(answer.error for answer in answers if answer.error is not None)
    notes += [f"{n} turns without answer: {reason}" for reason, n in failures.most_common(3)]
    journal.write_json("metrics.json", metrics)
    replace_file(journal.folder / "report.md", report_markdown(f"{options.asked}, served", states, notes))
    if turns and failures.total() == len(turns):
        raise EndpointError(f"no turn was answered: {failures.most_common(1)[0][0]} (see {journal.path})")
    return ServedResult(journal.folder, states, tuple(notes))


def _server_facts(answers: Sequence[Answer], asked: _Asked, options: ServedOptions) -> dict[str, Any]:
    n_asked = len(answers) - asked.n_kept
    return {
        "endpoint": options.settings.url,
        "model": options.model,
        "lora_name": options.lora_name,
        "n_turns": len(answers),
        "n_asked": n_asked,
        "n_kept": asked.n_kept,
        "n_retries": asked.n_retries,
        "concurrency": options.settings.n_connections,
        "seconds": round(asked.seconds, 2),
        "turns_per_s": round(n_asked / asked.seconds, 2) if n_asked else None,
        "prompt_tokens": total([answer.prompt_tokens for answer in answers]),
        "completion_tokens": total([answer.completion_tokens for answer in answers]),
        "latency_s": latency(answers),
    }


def _server_line(server: Mapping[str, Any]) -> str:
    parts = [f"{server['n_asked']} turns asked in {server['seconds']} s"]
    parts += [f"{server['n_kept']} kept from before"] if server["n_kept"] else []
    parts += [f"{server['n_retries']} retries"] if server["n_retries"] else []
    if server["latency_s"]:
        parts.append("latency " + ", ".join(f"{name} {s:.2f} s" for name, s in server["latency_s"].items()))
    return f"{server['model']}{' + ' + server['lora_name'] if server['lora_name'] else ''}: " + "; ".join(parts)


def _say(line: str) -> None:
    console.print(line, highlight=False, markup=False, soft_wrap=True)
