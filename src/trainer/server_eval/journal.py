"""Save a server's answers turn by turn, so an interrupted evaluation asks no turn twice. Scores nothing."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from filelock import FileLock, Timeout
from pydantic import BaseModel, StrictInt

from trainer.endpoint import Answer
from trainer.errors import DataError, OutputError
from trainer.run_layout import REQUEST_FILE, RUN_CONFIG, RUN_FILES, SERVED_FOLDER, ServedLayout
from trainer.scoring.judging import Verdict
from trainer.scoring.prediction_json import PredictionRecord, to_line
from trainer.scoring.predictions import context_hash
from trainer.types import EvalTurn, Prediction
from trainer.util.files import replace_file, replace_json
from trainer.util.records import read_object, read_record
from trainer.util.secrets import hider


class TurnKey(NamedTuple):
    """The turn that an answer belongs to, with a hash of its history and tools."""

    session_id: str
    turn: int
    context_hash: str


def key_of(turn: EvalTurn) -> TurnKey:
    """Return the key of a turn."""
    return TurnKey(turn.session_id, turn.turn, context_hash(turn.messages, turn.tools))


class ServedFacts(BaseModel):
    """The parts of an answer that a journal line holds besides the prediction."""

    tool_calls: Any
    prompt_tokens: StrictInt | None
    completion_tokens: StrictInt | None
    latency_s: float | None


class ServedRecord(PredictionRecord):
    """A line of the journal: a prediction, the fingerprint of the request, and the rest of the answer."""

    request: str
    served: ServedFacts

    def answer(self) -> Answer:
        """Return the answer that the line was made from."""
        facts = self.served
        return Answer(
            content=self.content,
            tool_calls=facts.tool_calls,
            finish_reason=self.finish_reason,
            error=self.error,
            prompt_tokens=facts.prompt_tokens,
            completion_tokens=facts.completion_tokens,
            latency_s=facts.latency_s,
        )


class Kept(NamedTuple):
    """A line of an earlier run that is still valid."""

    key: TurnKey
    answer: Answer
    line: str


class Journal:
    """The folder of one evaluation, open and locked; use it with `with`.

    `answers` come from earlier runs of the same evaluation. Opening drops the lines of turns that must be asked again:
    those with an error, and an incomplete last line.

    `request` holds the settings of all requests. Raises `OutputError` if the folder holds answers to other requests or
    a training run, or if another process is writing into it.
    """

    def __init__(self, folder: Path, request: Mapping[str, Any]) -> None:
        self.folder, self.files = folder, ServedLayout(folder)
        self.path = self.files.predictions
        self.answers: dict[TurnKey, Answer] = {}
        self._hide = hider()  # the key of the server is known by now
        self._request = dict(json.loads(self._hide(json.dumps(request))))  # as the file will have it
        text = json.dumps(self._request, sort_keys=True)
        self._fingerprint = hashlib.sha256(text.encode()).hexdigest()[:16]
        self._lock = FileLock(self.files.lock, timeout=0)

    def __enter__(self) -> Self:
        self._refuse_training_run()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._lock.acquire()
        except Timeout:
            raise OutputError(f"--output: another evaluation is writing into {self.folder}") from None
        except OSError as error:
            raise OutputError(f"--output: {self.folder} cannot be written: {error.strerror or error}") from error
        try:
            self._resume()
        except BaseException:
            self._lock.release()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        self._lock.release()

    def add(self, prediction: Prediction, answer: Answer) -> None:
        """Append the line of one turn. The line is in the file when this returns."""
        line = self._hide(to_line(prediction, extra=self._extra(answer))) + "\n"
        self._file.write(line.encode())  # one unbuffered write, so an interruption leaves whole lines

    def finish(self, predictions: Sequence[Prediction], answers: Sequence[Answer], verdicts: Sequence[Verdict]) -> int:
        """Rewrite the lines in the order of the turns and with verdicts, followed by the lines of other turns.

        Drops lines of the same turns with another history, and returns how many.
        """
        rows = zip(predictions, answers, verdicts, strict=True)
        lines = [to_line(prediction, verdict, extra=self._extra(answer)) for prediction, answer, verdict in rows]
        judged = {(p.session_id, p.turn): p.context_hash for p in predictions}
        hashes = [(judged.get(kept.key[:2]), kept) for kept in self._read()]
        lines += [kept.line for judged_hash, kept in hashes if judged_hash is None]
        replace_file(self.path, "".join(f"{line}\n" for line in lines))
        outdated = [kept for judged_hash, kept in hashes if judged_hash not in (None, kept.key.context_hash)]
        return len(outdated)

    def _refuse_training_run(self) -> None:
        """Refuse a run folder, because its metrics and report have the same file names."""
        has = {name for name in RUN_FILES if (self.folder / name).is_file()}
        if RUN_CONFIG in has or (has and not self.files.request.is_file()):
            raise OutputError(
                f"--output: {self.folder} holds {', '.join(sorted(has))} of something else, such as a training run; "
                f"name a separate folder (default: {SERVED_FOLDER}/NAME in the run folder)"
            )

    def _resume(self) -> None:
        self._refuse_other_request()
        kept = {
            line.key: line for line in self._read() if line.answer.error is None
        }  # the last answer to a turn counts
        self.answers = {key: line.answer for key, line in kept.items()}
        replace_json(self.files.request, self._request)
        replace_file(self.path, "".join(f"{line.line}\n" for line in kept.values()))
        self._file = self.path.open("ab", buffering=0)

    def _refuse_other_request(self) -> None:
        if not self.path.is_file():
            return
        remedy = "choose another --output, or remove that file to ask all turns again"
        try:
            before = read_object(self.files.request.read_bytes())
        except (OSError, DataError):
            raise OutputError(
                f"--output: {self.path} was not written by an evaluation of a server (it has no valid {REQUEST_FILE} "
                f"beside it); {remedy}"
            ) from None
        if before != self._request:
            keys = sorted(k for k in {**before, **self._request} if before.get(k) != self._request.get(k))
            changes = "; ".join(f"{k} was {before.get(k)!r}, now {self._request.get(k)!r}" for k in keys)
            raise OutputError(f"--output: {self.path} holds answers to other requests ({changes}); {remedy}")

    def _read(self) -> list[Kept]:
        if not self.path.is_file():
            return []
        *lines, _cut = self.path.read_bytes().split(b"\n")  # an interruption may cut the last line
        numbered = enumerate(lines, start=1)
        return [self._kept(raw, number) for number, raw in numbered if raw.strip()]

    def _kept(self, raw: bytes, number: int) -> Kept:
        try:
            line = raw.decode()
            record = read_record(ServedRecord, line)
            if record.request != self._fingerprint:
                raise DataError("an answer to another request")
        except ValueError as error:
            raise OutputError(
                f"{self.path}:{number}: not a line of this evaluation ({error}); remove the line, or choose another "
                "--output"
            ) from None
        return Kept(TurnKey(record.session_id, record.turn, record.context_hash), record.answer(), line)

    def _extra(self, answer: Answer) -> dict[str, Any]:
        facts = ServedFacts(
            tool_calls=answer.tool_calls,
            prompt_tokens=answer.prompt_tokens,
            completion_tokens=answer.completion_tokens,
            latency_s=None if answer.latency_s is None else round(answer.latency_s, 4),
        )
        return {"request": self._fingerprint, "served": dict(facts)}
