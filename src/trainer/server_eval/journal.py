"""The answers of one evaluation of a server, kept turn by turn, so that no turn is asked twice. Scores nothing."""

import fcntl
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from trainer.endpoint import Answer
from trainer.errors import OutputError
from trainer.run_layout import PREDICTIONS_FILE, REQUEST_FILE, RUN_CONFIG, RUN_FILES, SERVED_FOLDER
from trainer.scoring.judging import Verdict
from trainer.scoring.prediction_json import to_line
from trainer.scoring.predictions import TOOLS_FILE, context_hash
from trainer.types import EvalTurn, Prediction, Tool
from trainer.util.files import replace_file


class TurnKey(NamedTuple):
    """What an answer belongs to: a turn on a certain history."""

    session_id: str
    turn: int
    context_hash: str


def key_of(turn: EvalTurn) -> TurnKey:
    """The key of a turn."""
    return TurnKey(turn.session_id, turn.turn, context_hash(turn.messages, turn.tools))


class Kept(NamedTuple):
    """A line of an earlier run that still counts."""

    key: TurnKey
    answer: Answer
    line: str


class Journal:
    """The folder of one evaluation, open and locked; use it with `with`.

    `answers` are those of earlier runs. Opening drops what has to be asked again: a half-written last line, and
    turns that ended in an error.

    `request` is what every turn is asked with. Raises `OutputError` where the folder holds answers to other
    requests or a training run, or where another process writes into it.
    """

    def __init__(self, folder: Path, request: Mapping[str, Any]) -> None:
        self.folder, self.path = folder, folder / PREDICTIONS_FILE
        self.answers: dict[TurnKey, Answer] = {}
        self._request = dict(request)
        text = json.dumps(self._request, sort_keys=True)
        self._fingerprint = hashlib.sha256(text.encode()).hexdigest()[:16]

    def __enter__(self) -> Self:
        self._refuse_training_run()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._lock = (self.folder / ".lock").open("w", encoding="utf-8")
        except OSError as error:
            raise OutputError(f"--output: {self.folder} cannot be written: {error.strerror}") from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._lock.close()
            raise OutputError(f"--output: another evaluation is writing into {self.folder}") from None
        try:
            self._resume()
        except BaseException:
            self._lock.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        self._lock.close()

    def add(self, prediction: Prediction, answer: Answer) -> None:
        """Append the line of one turn; it is in the file when this returns."""
        line = to_line(prediction, extra=self._extra(answer)) + "\n"
        self._file.write(line.encode())  # unbuffered and in one piece: an interruption leaves whole lines

    def finish(self, predictions: Sequence[Prediction], answers: Sequence[Answer], verdicts: Sequence[Verdict]) -> int:
        """Write the lines anew in the order of the turns, with verdicts; lines of other turns stay behind them.

        Lines of the same turns on another history are dropped; gives their number.
        """
        rows = zip(predictions, answers, verdicts, strict=True)
        lines = [to_line(prediction, verdict, extra=self._extra(answer)) for prediction, answer, verdict in rows]
        judged = {(p.session_id, p.turn): p.context_hash for p in predictions}
        hashes = [(judged.get(kept.key[:2]), kept) for kept in self._read()]
        lines += [kept.line for judged_hash, kept in hashes if judged_hash is None]
        replace_file(self.path, "".join(f"{line}\n" for line in lines))
        outdated = [kept for judged_hash, kept in hashes if judged_hash not in (None, kept.key.context_hash)]
        return len(outdated)

    def write_json(self, name: str, value: Any) -> None:
        """Write a file of the folder; infinities and NaN are refused, since they are no JSON."""
        replace_file(self.folder / name, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")

    def write_tools(self, tools: Sequence[Tool]) -> None:
        """Write the tool schemas, which scoring the predictions again needs."""
        self.write_json(TOOLS_FILE, list(tools))

    def _refuse_training_run(self) -> None:
        """A run's own metrics and report have the names of ours."""
        has = {name for name in RUN_FILES if (self.folder / name).is_file()}
        if RUN_CONFIG in has or (has and not (self.folder / REQUEST_FILE).is_file()):
            raise OutputError(
                f"--output: {self.folder} holds {', '.join(sorted(has))} of something else, a training run for "
                f"instance; name a folder of its own (default: {SERVED_FOLDER}/NAME in the run folder)"
            )

    def _resume(self) -> None:
        self._refuse_other_request()
        kept = {line.key: line for line in self._read() if line.answer.error is None}  # the last one counts
        self.answers = {key: line.answer for key, line in kept.items()}
        self.write_json(REQUEST_FILE, self._request)
        replace_file(self.path, "".join(f"{line.line}\n" for line in kept.values()))
        self._file = self.path.open("ab", buffering=0)

    def _refuse_other_request(self) -> None:
        path = self.folder / REQUEST_FILE
        if not self.path.is_file():
            return
        remedy = "choose another --output, or remove that file to ask all turns anew"
        try:
            before = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            raise OutputError(
                f"--output: {self.path} was not written by an evaluation of a server (no valid {REQUEST_FILE} beside "
                f"it); {remedy}"
            ) from None
        if before != self._request:
            keys = sorted(k for k in {**before, **self._request} if before.get(k) != self._request.get(k))
            changes = "; ".join(f"{k} was {before.get(k)!r}, now {self._request.get(k)!r}" for k in keys)
            raise OutputError(f"--output: {self.path} holds answers to other requests ({changes}); {remedy}")

    def _read(self) -> list[Kept]:
        if not self.path.is_file():
            return []
        lines = self.path.read_bytes().split(b"\n")
        kept = []
        for number, raw in enumerate(lines, start=1):
            is_last = number == len(lines)  # without a line end: an interruption cut it
            if not raw.strip() or is_last:
                continue
            try:
                line = raw.decode()
                kept.append(self._kept(json.loads(line), line))
            except (ValueError, KeyError, TypeError, RecursionError) as error:
                raise OutputError(
                    f"{self.path}:{number}: not a line of this evaluation ({error!r:.120}); remove the line, or choose "
                    "another --output"
                ) from None
        return kept

    def _kept(self, record: Mapping[str, Any], line: str) -> Kept:
        if record["request"] != self._fingerprint:
            raise ValueError("an answer to another request")
        served = record["served"]
        answer = Answer(
            content=record["content"],
            tool_calls=served["tool_calls"],
            finish_reason=record["finish_reason"],
            error=record["error"],
            prompt_tokens=served["prompt_tokens"],
            completion_tokens=served["completion_tokens"],
            latency_s=served["latency_s"],
        )
        return Kept(TurnKey(record["session_id"], record["turn"], record["context_hash"]), answer, line)

    def _extra(self, answer: Answer) -> dict[str, Any]:
        served = {
            "tool_calls": answer.tool_calls,
            "prompt_tokens": answer.prompt_tokens,
            "completion_tokens": answer.completion_tokens,
            "latency_s": None if answer.latency_s is None else round(answer.latency_s, 4),
        }
        return {"request": self._fingerprint, "served": served}
