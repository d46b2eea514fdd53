"""Find what is wrong or doubtful in prepared rows: in one split, and between both. Reads no file."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence, Set
from typing import NamedTuple

import datasets

from trainer.config import Config
from trainer.data.findings import CALL_REMEDY, Finding, Kind
from trainer.data.opening import Part
from trainer.data.survey import SessionCounts, Survey
from trainer.leaks import Fingerprint, find_duplicates, find_leaks
from trainer.types import Message


class PartRows(NamedTuple):
    """The raw rows of one source in one split, what reading them showed, and their rows of tokens."""

    part: Part
    survey: Survey
    tokens: datasets.Dataset

    def finding(self, kind: Kind, split: str, row: int, message: str) -> Finding:
        """Return a warning about a row."""
        return Finding("warning", kind, split, message, self.part.place(row), self.survey.ids[row])

    def error(self, kind: Kind, split: str, row: int, message: str) -> Finding:
        """Return an error of a row."""
        return Finding("error", kind, split, message, self.part.place(row), self.survey.ids[row])


def row_errors(split: str, found: PartRows) -> Mapping[int, list[Finding]]:
    """Return everything that makes rows unusable, by row."""
    errors: dict[int, list[Finding]] = defaultdict(list)
    for row, finding in found.survey.errors.items():
        errors[row].append(finding)
    tokens = found.tokens
    for row, problem, violations in zip(tokens["row"], tokens["problem"], tokens["violations"], strict=True):
        if problem is not None:
            errors[row].append(found.error("unusable_row", split, row, problem))
        errors[row] += [found.error("invalid_call", split, row, f"{one}; {CALL_REMEDY}") for one in violations]
    silent = set(range(len(found.survey.ids))) - set(tokens["row"])
    for row in silent - {row for row, finding in found.survey.errors.items() if finding.kind == "unreadable_row"}:
        message = "no assistant turn carries loss; add an answer, or remove the row"
        errors[row].append(found.error("nothing_to_learn", split, row, message))
    return {row: errors[row] for row in sorted(errors) if errors[row]}


def row_warnings(cfg: Config, split: str, found: PartRows, *, is_judged: bool) -> Iterator[Finding]:
    """Yield what is doubtful in single rows of tokens."""
    limit, budget = cfg.data.max_context_length, cfg.eval.max_new_tokens_eval
    tokens = found.tokens
    verb = "dropped" if cfg.data.drop_oversized else "trained in full"
    columns = ("row", "length", "literals", "turns", "starts", "ends")
    for row, length, literals, turns, starts, ends in zip(*(tokens[name] for name in columns), strict=True):
        if length > limit:
            message = f"{length:,} tokens; data.max_context_length is {limit:,}, so the row is {verb}"
            yield found.finding("over_long", split, row, message)
        for literal in literals:
            yield found.finding("literal_special_token", split, row, literal)
        for turn, start, end in zip(turns, starts, ends, strict=True) if is_judged else ():
            if end - start > budget:
                message = f"turn {turn}: the answer has {end - start} tokens; eval.max_new_tokens_eval is {budget}"
                yield found.finding("gold_too_long", split, row, message)


def nothing_left(
    cfg: Config, split: str, parts: Sequence[PartRows], dropped: Set[tuple[int, int]], *, purpose: str
) -> list[Finding]:
    """Return an error if no row is left for `purpose`: all are dropped, or all that are not are too long."""
    if dropped and cfg.data.on_bad_row == "error":
        return []  # those errors stop the training
    limit = cfg.data.max_context_length
    lengths = sorted(
        length
        for number, found in enumerate(parts)
        for row, length in zip(found.tokens["row"], found.tokens["length"], strict=True)
        if (number, row) not in dropped
    )
    if lengths and (lengths[0] <= limit or not cfg.data.drop_oversized):
        return []
    message = f"no session is left to {purpose} on; correct the rows, or add others"
    if lengths:
        message = (
            f"no session is left to {purpose} on: {len(lengths)} rows have {lengths[0]:,} to {lengths[-1]:,} tokens, "
            f"and data.max_context_length is {limit:,}; raise it, or set data.drop_oversized: false"
        )
    return [Finding("error", "nothing_left", split, message)]


def compare_splits(
    train_name: str, train: Sequence[PartRows], eval_name: str, evaluation: Sequence[PartRows]
) -> Iterator[Finding]:
    """Yield what only both splits together show: sessions that are in both, repeated ones, and the use of tools.

    A configuration that names one split twice means it, so that is a warning; any other session in both is an error.
    """
    if train_name == eval_name:
        message = "training and evaluation use the same split, so the metrics show what training has seen"
        yield Finding("warning", "in_both_splits", eval_name, message)
    else:
        yield from _equal_ids(train_name, train, eval_name, evaluation)
        yield from _leaks(train, eval_name, evaluation)
    for name, parts in ((train_name, train), (eval_name, evaluation)):
        yield from _duplicates(name, parts)
    counts = [_total(parts) for parts in (train, evaluation)]
    yield from _tool_use(train_name, counts[0], eval_name, counts[1])


def _equal_ids(
    train_name: str, train: Sequence[PartRows], eval_name: str, evaluation: Sequence[PartRows]
) -> Iterator[Finding]:
    known = {session_id: (part, row) for part in train for row, session_id in enumerate(part.survey.ids)}
    for found in evaluation:
        for row, session_id in enumerate(found.survey.ids):
            if session_id in known:
                part, at = known[session_id]
                message = (
                    f"the session is also in split {train_name} ({part.part.place(at)}), so its evaluation would show "
                    "what training has seen; remove one of the two, or choose other splits"
                )
                yield found.error("in_both_splits", eval_name, row, message)


class _Known(NamedTuple):
    """The readable sessions of a split in one list, with their fingerprints."""

    places: list[tuple[PartRows, int]]
    fingerprints: list[Fingerprint]

    def messages(self, index: int) -> Sequence[Message]:
        found, row = self.places[index]
        return found.part.reader.read(found.part.rows[row]).session.messages


def _known(parts: Sequence[PartRows]) -> _Known:
    known = _Known([], [])
    for found in parts:
        for row, print_ in enumerate(found.survey.fingerprints):
            if print_ is not None:
                known.places.append((found, row))
                known.fingerprints.append(print_)
    return known


def _leaks(train: Sequence[PartRows], eval_name: str, evaluation: Sequence[PartRows]) -> Iterator[Finding]:
    seen, judged = _known(train), _known(evaluation)
    leaks = find_leaks(
        seen.fingerprints, judged.fingerprints, read_train=seen.messages, read_evaluation=judged.messages
    )
    for leak in leaks:
        found, row = judged.places[leak.eval_index]
        other, at = seen.places[leak.train_index]
        if found.survey.ids[row] == other.survey.ids[at]:
            continue  # the same id is an error of its own
        what = "has the content" if leak.kind == "same_content" else "is nearly a copy"
        seen_as = f"training session {other.survey.ids[at]} ({other.part.place(at)})"
        message = f"it {what} of {seen_as}; remove one of the two"
        yield found.finding(leak.kind, eval_name, row, message)


def _duplicates(name: str, parts: Sequence[PartRows]) -> Iterator[Finding]:
    known = _known(parts)
    for group in find_duplicates(known.fingerprints):
        first, at = known.places[group[0]]
        for index in group[1:]:
            found, row = known.places[index]
            message = f"it has the content of session {first.survey.ids[at]} ({first.part.place(at)})"
            yield found.finding("duplicate", name, row, message)


def _total(parts: Sequence[PartRows]) -> SessionCounts:
    total = SessionCounts()
    for found in parts:
        total.merge(found.survey.counts)
    return total


def _tool_use(train_name: str, train: SessionCounts, eval_name: str, evaluation: SessionCounts) -> Iterator[Finding]:
    for tool in sorted(train.offered):
        if not train.calls[tool]:
            message = f"no training session calls the tool {tool}; add some, or take the tool out"
            yield Finding("warning", "tool_never_called", train_name, message)
        elif not evaluation.calls[tool]:
            message = f"no evaluation session calls the tool {tool}, so the metrics say nothing about it"
            yield Finding("warning", "tool_not_evaluated", eval_name, message)
    for name, counts in ((train_name, train), (eval_name, evaluation)):
        if counts.n_call_turns and not counts.n_no_call_turns:
            message = "every turn calls a tool, so nothing shows when to make no call; add turns without calls"
            yield Finding("warning", "no_call_turns", name, message)
        elif counts.n_no_call_turns and not counts.n_call_turns:
            yield Finding("warning", "no_call_turns", name, "no turn calls a tool, so no call can be learned or judged")
