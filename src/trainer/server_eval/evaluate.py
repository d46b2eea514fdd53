"""Score a served model on the turns that training judges: ask, save, read twice, report. Needs no torch."""

import asyncio
import hashlib
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from trainer.calibration.record import request_bias
from trainer.config import Config
from trainer.data.chat_setup import RequestSetup, make_request_setup
from trainer.data.domains import domain_turns, load_domain
from trainer.endpoint import (
    Answer,
    Dialect,
    Endpoint,
    EndpointSettings,
    Generation,
    base_url,
    turn_request,
)
from trainer.endpoint.schedule import ask_turns
from trainer.errors import DataError
from trainer.run_layout import BASE, FINAL, RunLayout
from trainer.server_eval.agreement import read_run_state
from trainer.server_eval.journal import Journal, TurnKey, key_of
from trainer.server_eval.offered import require_models
from trainer.server_eval.readings import latency, read_twice, total
from trainer.server_eval.report import ServedResult, write_report
from trainer.tools.wire import unique_tools
from trainer.types import EvalTurn
from trainer.util.progress import progress_bar

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ServedOptions:
    """Which model to ask on which server, and how.

    Requests name an adapter by `lora_name`, as vLLM expects; the server must then also offer its base model, `model`.
    `limit` evaluates the first turns only. Without `output`, the result is written to the run folder.
    """

    settings: EndpointSettings
    model: str
    lora_name: str | None = None
    output: Path | None = None
    limit: int | None = None
    extra_body: Mapping[str, Any] = field(default_factory=dict)

    @property
    def asked(self) -> str:
        """The model name in requests."""
        return self.lora_name or self.model

    @property
    def names(self) -> list[str]:
        """All the model names that the server must offer."""
        return list(dict.fromkeys([self.model, self.asked]))


class _Asked(NamedTuple):
    answers: dict[TurnKey, Answer]
    n_kept: int
    n_retries: int
    seconds: float
    dialect: Dialect


def evaluate_served(cfg: Config, options: ServedOptions) -> ServedResult:
    """Ask a server all turns that have no answer yet, and score all turns.

    Raises `EndpointError` if the server does not offer the model, or if it answered no turn at all; in the second case
    the result is still written. Other `ToolSftError`s report problems with configuration, data or folder.
    """
    asyncio.run(require_models(options.settings, options.names))
    turns = domain_turns(load_domain(cfg), cfg)[: options.limit]
    if not turns:
        raise DataError("there is no turn to judge; check data.eval_split and data.n_tool_sessions_eval")
    setup = make_request_setup(cfg)
    run_state = read_run_state(cfg.output_dir, BASE if _asks_base(cfg, options) else FINAL)
    folder = options.output or RunLayout(cfg.output_dir).served(options.asked)
    generation = _generation(cfg, options, setup)
    with Journal(folder, _request(cfg, options, generation)) as journal:
        try:
            asked = asyncio.run(_ask(turns, journal, options.settings, generation=generation, setup=setup))
        except KeyboardInterrupt:
            logger.info(f"the answers so far are in {journal.path}; the same command continues from there")
            raise
        answers = [asked.answers[key_of(turn)] for turn in turns]
        facts = _server_facts(answers, asked, options)
        tools = unique_tools(tool for turn in turns for tool in turn.tools)
        return write_report(journal, turns, answers, fmt=setup.fmt, tools=tools, server=facts, run_state=run_state)


def _asks_base(cfg: Config, options: ServedOptions) -> bool:
    """Whether requests go to the base model itself, judging by its name."""
    return options.lora_name is None and options.model == cfg.model.base_model_name


def _request(cfg: Config, options: ServedOptions, generation: Generation) -> dict[str, Any]:
    """Return everything that answers depend on: the server, the weights and the settings of requests.

    The base model's answers do not depend on the adapter in the run folder.
    """
    adapter = RunLayout(cfg.output_dir).adapter_weights
    digest = None
    if adapter.is_file() and not _asks_base(cfg, options):
        with adapter.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()[:16]
    settings = asdict(generation)
    if not generation.logit_bias:  # as in the files of evaluations that were written before there was a bias
        del settings["logit_bias"]
    facts = {"model_of_adapter": options.model, "endpoint": base_url(options.settings.url), "adapter_sha256": digest}
    return settings | facts


def _generation(cfg: Config, options: ServedOptions, setup: RequestSetup) -> Generation:
    bias = request_bias(cfg.output_dir, model=options.asked, base=cfg.model.base_model_name)
    if bias:
        logger.info(f"requests carry the logit_bias of {RunLayout(cfg.output_dir).calibration}")
    return Generation(
        model=options.asked,
        max_tokens=cfg.eval.max_new_tokens_eval,
        temperature=cfg.eval.temperature,
        chat_template_kwargs=dict(setup.template_kwargs),
        keep_special_tokens=setup.keep_special_tokens,
        date_argument=setup.date_argument,
        logit_bias=bias,
        extra_body=dict(options.extra_body),
    )


async def _ask(
    turns: Sequence[EvalTurn],
    journal: Journal,
    settings: EndpointSettings,
    *,
    generation: Generation,
    setup: RequestSetup,
) -> _Asked:
    keys = [key_of(turn) for turn in turns]
    answers = {key: journal.answers[key] for key in keys if key in journal.answers}
    open_turns = [turn for key, turn in zip(keys, turns, strict=True) if key not in answers]
    n_kept, n_errors, started = len(answers), 0, time.monotonic()
    if n_kept:
        logger.info(
            f"{n_kept} of {len(turns)} turns are already answered in {journal.path}; remove it to ask them again"
        )
    with progress_bar("Asking the server", total=len(open_turns), unit="turns") as advance:

        def keep(turn: EvalTurn, answer: Answer) -> None:
            nonlocal n_errors
            reading = read_twice(turn, answer, setup.fmt)
            journal.add(reading.strict, answer)
            strict = reading.strict
            answers[TurnKey(strict.session_id, strict.turn, strict.context_hash)] = answer
            n_errors += answer.error is not None
            advance(1, note=f"{n_errors} errors" if n_errors else "")

        async with Endpoint(settings, notify=logger.warning) as endpoint:
            await ask_turns(
                open_turns,
                lambda turn: endpoint.chat(turn_request(turn, generation)),
                concurrency=settings.n_connections,
                on_answer=keep,
            )
    return _Asked(answers, n_kept, endpoint.n_retries, time.monotonic() - started, endpoint.dialect)


def _server_facts(answers: Sequence[Answer], asked: _Asked, options: ServedOptions) -> dict[str, Any]:
    n_asked = len(answers) - asked.n_kept
    return {
        "endpoint": base_url(options.settings.url),
        "model": options.model,
        "lora_name": options.lora_name,
        "n_turns": len(answers),
        "n_asked": n_asked,
        "n_kept": asked.n_kept,
        "n_retries": asked.n_retries,
        "without_parser": asked.dialect.without_parser,
        "dropped_fields": sorted(asked.dialect.dropped),
        "concurrency": options.settings.n_connections,
        "seconds": round(asked.seconds, 2),
        "turns_per_s": round(n_asked / asked.seconds, 2) if n_asked else None,
        "prompt_tokens": total([answer.prompt_tokens for answer in answers]),
        "completion_tokens": total([answer.completion_tokens for answer in answers]),
        "latency_s": latency(answers),
    }
