"""A made-up folder of a finished run, as large and as hostile as a test wants it."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.support.scoring import call, tool, turn
from trainer.run_layout import RunLayout, ServedLayout
from trainer.scoring.predictions import write_predictions
from trainer.scoring.score import score
from trainer.types import Prediction

TOOLS = (
    tool("find_car", ["make"], make={"type": "string"}, year={"type": "integer"}),
    tool("book_slot", ["day"], day={"type": "string"}),
)


def predictions_of(n_turns: int, *, n_right: int, text: str = "Hello!") -> list[Prediction]:
    """Return turns of five per session, call and no-call turns in turn; of every ten, `n_right` are right."""
    turns = []
    for number in range(n_turns):
        gold = [call("find_car", make=f"Make {number}", year=2000 + number % 20)] if number % 2 else []
        wrong: Sequence[Any] = [call("find_car", make=text)] if number % 4 == 1 else [call("book_slot", day=text)]
        said: Any = (gold or text) if number % 10 < n_right else wrong
        names = ("find_car", "book_slot")
        turns.append(turn(gold, said, session=f"session-{number // 5:05}", index=number % 5 * 2 + 2, offered=names))
    return turns


def write_run(folder: Path, *, n_turns: int = 40, text: str = "Hello!") -> Path:
    """Write the files of a run whose base model is right in 3 of 10 turns, and its final model in 8."""
    files = RunLayout(folder)
    metrics: dict[str, Any] = {}
    for state, n_right in (("base", 3), ("final", 8)):
        turns = predictions_of(n_turns, n_right=n_right, text=text)
        scores = score(turns, TOOLS)
        metrics[state] = {**scores.to_state(), "perplexity": 1.5, "perplexity_call_tokens": 1.4}
        write_predictions(files.predictions(state), turns, TOOLS, verdicts=scores.verdicts)
    metrics["train"] = {"loss": 0.1, "n_steps": 20, "tokens_per_s": 500.0, "peak_memory_gb": 4.0, "runtime_s": 60.0}
    metrics["data"] = {"train": {"n_sessions": 10, "n_dropped": 2}}
    _write_json(files.metrics, metrics)
    _write_json(files.environment, {"cpu": "Some CPU", "packages": {"torch": "2.13.0"}})
    files.config.write_text(f"train: {{output_dir: {folder}}}\nmodel: {{base_model_name: {json.dumps(text)}}}\n")
    steps = [{"step": step, "loss": 1 / step, "learning_rate": 0.001} for step in range(1, 21)]
    files.history.write_text("".join(f"{json.dumps(line)}\n" for line in steps), encoding="utf-8")
    files.conversations.write_text("".join(map(_conversation(text), range((n_turns + 4) // 5))), encoding="utf-8")
    return folder


def write_served(folder: Path, *, n_turns: int = 40, n_failed: int = 3, text: str = "Hello!") -> Path:
    """Write the files of an evaluation of a server that answers 8 of 10 turns right and fails in the last ones."""
    files = ServedLayout(folder)
    turns = predictions_of(n_turns, n_right=8, text=text)
    failed = [
        replace(one, calls=(), text="", content="", error=text, finish_reason="error") for one in turns[-n_failed:]
    ]
    strict = score([*turns[:-n_failed], *failed], TOOLS)
    lenient = score(turns, TOOLS)
    for path, said, scores in (
        (files.predictions, [*turns[:-n_failed], *failed], strict), (files.lenient, turns, lenient)
    ):  # fmt: skip
        write_predictions(path, said, TOOLS, verdicts=scores.verdicts)
    metrics = {
        "strict": strict.to_state(), "lenient": lenient.to_state(), "notes": [text],
        "server": {"endpoint": "http://127.0.0.1:1/v1", "model": text, "lora_name": None},
        "in_process": {
            "state": "final", "metrics": lenient.to_state(), "n_paired": n_turns, "n_identical": n_turns - n_failed,
            "identical_share": 1 - n_failed / n_turns, "n_skipped": 1, "conclusion": text, "differs": ["turn_exact"],
        },
    }  # fmt: skip
    _write_json(files.metrics, metrics)
    _write_json(files.request, {"temperature": 0, "max_tokens": 64})
    files.conversations.write_text("".join(map(_conversation(text), range((n_turns + 4) // 5))), encoding="utf-8")
    return folder


def _conversation(text: str) -> Any:
    def line(session: int) -> str:
        messages = [{"role": "system", "content": text}]
        for number in range(5):
            messages += [{"role": "user", "content": f"{text} {number}"}, {"role": "assistant", "content": text}]
        record = {"session_id": f"session-{session:05}", "tool_names": ["find_car", "book_slot"], "messages": messages}
        return json.dumps(record) + "\n"

    return line


def _write_json(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value), encoding="utf-8")
