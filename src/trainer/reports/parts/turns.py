"""Choose the turns that a report shows, and show each with its answers side by side. Judges nothing."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, get_args

from trainer.reports.parts.calls import gold_alone, gold_answer, model_answer
from trainer.reports.parts.conversations import conversation_view, message_view
from trainer.reports.parts.judged import JudgedState, TurnId
from trainer.reports.text import plain
from trainer.reports.views import Badge, ConversationView, TurnView
from trainer.scoring.conversations import ConversationRecord
from trainer.scoring.judging import Reason
from trainer.types import Prediction

MOST_TURNS = 160
_MOST_CHARACTERS = 900_000
"""Of all shown turns and their conversations together, about."""

_SEVERITY: tuple[Reason, ...] = get_args(Reason)
LOST, GAINED, WRONG = "lost", "gained", "still wrong"
_CHANGE_BADGES = {LOST: Badge("▼ lost", "bad"), GAINED: Badge("▲ gained", "good"), WRONG: Badge("still wrong", "warn")}


def reason_text(reason: str) -> str:
    """Return a reason as words.

    >>> reason_text("wrong_tool")
    'wrong tool'
    """
    return reason.replace("_", " ")


class Candidate(NamedTuple):
    """A turn that is worth a look: how it changed (None with one state) and why its last state is not exact."""

    id: TurnId
    change: str | None
    reasons: tuple[Reason, ...]


@dataclass(frozen=True, slots=True)
class ShownTurns:
    """The turns of a page and their conversations. `n_all` counts the turns that were worth a look.

    `n_changes` counts all turns by how they changed; it is empty with one state. `choices` are the filters of the page:
    for each kind, its words and how many shown turns have them.
    """

    turns: tuple[TurnView, ...]
    conversations: tuple[ConversationView, ...]
    n_all: int
    n_judged: int
    n_changes: Mapping[str, int]
    has_conversations: bool
    choices: Mapping[str, Mapping[str, int]]


def show_turns(
    states: Sequence[JudgedState], conversations: Mapping[str, ConversationRecord], *, prefix: str = ""
) -> ShownTurns:
    """Return the turns that are not exact in the last state, or flipped between the first and the last.

    Turns that were lost come first, then the others that are wrong, then those that were gained. If there are too many
    for one page, every reason and every kind of change is represented. `prefix` keeps the addresses apart if a page
    shows several.
    """
    candidates = _candidates(states)
    changes = Counter(candidate.change for candidate in candidates)
    keys: dict[str, str] = {}
    turns: list[TurnView] = []
    for candidate in _that_fit(candidates, states, conversations):
        session = candidate.id[0]
        record = conversations.get(session)
        if record is not None:
            keys.setdefault(session, f"{prefix}c{len(keys) + 1}")
        turns.append(
            _turn_view(candidate, states, record, key=f"{prefix}t{len(turns) + 1}", conversation=keys.get(session))
        )
    return ShownTurns(
        turns=tuple(turns),
        conversations=tuple(conversation_view(conversations[session], key) for session, key in keys.items()),
        n_all=len(candidates),
        n_judged=len(states[-1].predictions) if states else 0,
        n_changes={change: changes[change] for change in (GAINED, LOST, WRONG)} if len(states) > 1 else {},
        has_conversations=bool(conversations),
        choices=_choices(turns),
    )


def _candidates(states: Sequence[JudgedState]) -> list[Candidate]:
    if not states:
        return []
    first, last = states[0], states[-1]
    found = []
    for turn, (_, judged) in last.by_id.items():
        before = first.by_id[turn][1].verdict.exact if len(states) > 1 and turn in first.by_id else None
        after, reasons = judged.verdict.exact, judged.verdict.reasons
        if after is False:
            change = None if len(states) == 1 else LOST if before else WRONG
            found.append(Candidate(turn, change, reasons))
        elif after and before is False:
            found.append(Candidate(turn, GAINED, first.by_id[turn][1].verdict.reasons))
    return found


def _that_fit(
    candidates: Iterable[Candidate], states: Sequence[JudgedState], conversations: Mapping[str, ConversationRecord]
) -> list[Candidate]:
    """Choose the candidates that one page has room for, the worst first; those that were gained come last."""
    chosen: list[Candidate] = []
    sessions: set[str] = set()
    room = _MOST_CHARACTERS
    for candidate in _mixed(candidates):
        session = candidate.id[0]
        record = conversations.get(session)
        room -= _size(states, candidate.id) + (0 if session in sessions or record is None else _length(record))
        if chosen and (len(chosen) >= MOST_TURNS or room < 0):
            break
        sessions.add(session)
        chosen.append(candidate)
    return sorted(chosen, key=lambda candidate: candidate.change == GAINED)


def _mixed(candidates: Iterable[Candidate]) -> list[Candidate]:
    """Take one turn of each reason in turn; after every third turn that is wrong, one that was gained."""
    groups: dict[tuple[int, Reason], list[Candidate]] = defaultdict(list)
    order = (LOST, WRONG, None, GAINED)
    for candidate in candidates:
        worst = min(candidate.reasons, key=_SEVERITY.index)
        groups[order.index(candidate.change), worst].append(candidate)
    ranked = [
        (change, position, _SEVERITY.index(reason), candidate)
        for (change, reason), group in groups.items()
        for position, candidate in enumerate(group)
    ]
    ranked.sort(key=lambda entry: entry[:3])
    wrong = [entry[3] for entry in ranked if entry[3].change != GAINED]
    gained = [entry[3] for entry in ranked if entry[3].change == GAINED]
    places = [(float(place), candidate) for place, candidate in enumerate(wrong)]
    places += [(3 * place + 2.5, candidate) for place, candidate in enumerate(gained)]
    return [candidate for _, candidate in sorted(places, key=lambda entry: entry[0])]


def _turn_view(
    candidate: Candidate,
    states: Sequence[JudgedState],
    record: ConversationRecord | None,
    *,
    key: str,
    conversation: str | None,
) -> TurnView:
    session, index = candidate.id
    last = states[-1]
    found = [(state, *state.by_id[candidate.id]) for state in states if candidate.id in state.by_id]
    prediction, judged = last.by_id[candidate.id]
    gold = gold_answer(last, prediction, judged) if len(states) == 1 or judged.pairs else gold_alone(prediction)
    answers = (gold, *(model_answer(state, said, verdict, title=state.name) for state, said, verdict in found))
    reasons = tuple(map(reason_text, candidate.reasons))
    badges = [_CHANGE_BADGES[candidate.change]] if candidate.change else []
    where = " in the first" if candidate.change == GAINED and len(states) > 1 else ""
    badges += [Badge(f"{reason}{where and f' in {states[0].name}'}", "plain") for reason in reasons]
    before = record.messages[:index] if record is not None else []
    filters = {"reason": reasons, "tool": _tools_of(item[1] for item in found)}
    if candidate.change:
        filters["change"] = (candidate.change,)
    return TurnView(
        key=key,
        title=f"{session}, turn {index}",
        badges=tuple(badges),
        answers=answers,
        filters={kind: tuple(map(plain, words)) for kind, words in filters.items()},
        conversation=conversation,
        n_before=len(before),
        last=message_view(before[-1], key=f"{key}-last") if before else None,
    )


def _tools_of(predictions: Iterable[Prediction]) -> tuple[str, ...]:
    names: dict[str, None] = {}
    for prediction in predictions:
        for name in (*(c.name for c in prediction.gold_calls), *(c.name for c in prediction.calls if c.name)):
            names.setdefault(name[:120])
    return tuple(names) or ("(no call)",)


def _choices(turns: Sequence[TurnView]) -> dict[str, dict[str, int]]:
    counts: dict[str, Counter[str]] = {kind: Counter() for kind in ("change", "reason", "tool")}
    for turn in turns:
        for kind, words in turn.filters.items():
            counts[kind].update(words)
    return {kind: dict(sorted(words.items(), key=_by_count)) for kind, words in counts.items()}


_by_count: Callable[[tuple[str, int]], tuple[int, str]] = lambda item: (-item[1], item[0])  # noqa: E731


def _length(record: ConversationRecord) -> int:
    """The number of characters that a conversation needs in the page, about."""
    return sum(min(len(str(message)), 4000) + 150 for message in record.messages)


def _size(states: Sequence[JudgedState], turn: TurnId) -> int:
    found = [state.by_id[turn][0] for state in states if turn in state.by_id]
    texts = sum(min(len(prediction.text), 3000) * 2 + 600 for prediction in found)
    return texts + sum(min(len(str(call.arguments)), 4000) * 4 for p in found for call in p.gold_calls)
