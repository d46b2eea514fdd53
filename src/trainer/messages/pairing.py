"""Decide which tool result answers which call. The only place that decides it; knows no layout."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from trainer.types import Message, ToolCallJson
from trainer.values.places import fail, names


class _Result(NamedTuple):
    turn: int
    message: Message

    @property
    def call_id(self) -> str | None:
        return self.message.get("tool_call_id") or None

    @property
    def name(self) -> str | None:
        return self.message.get("name") or None


class _CallBlock(NamedTuple):
    """The calls of one assistant turn, and the results that follow it."""

    turn: int
    calls: list[ToolCallJson]
    results: list[_Result]


def pair_results(messages: Sequence[Message], *, turns: Sequence[int] | None = None) -> tuple[Message, ...]:
    """The same conversation in which every result follows the order of the calls and has the id of its call.

    A result is matched by its id; if no call has that id, by a name that only one call has; else by order. Calls
    without an id get the id of their result, else one like `call00000` (nine letters and digits, which Mistral's
    templates require) that is new in the conversation. Calls of
    the last turn may have no results. `turns` are the turn numbers that errors name; by default the indexes.

    Raises:
        DataError: a result answers no call, a call has no result, or which belongs to which is uncertain.
    """
    numbers = range(len(messages)) if turns is None else turns
    fresh = _fresh_ids(messages)
    paired: list[Message] = []
    index = 0
    while index < len(messages):
        message = messages[index]
        calls = message.get("tool_calls") or []
        end = index + 1
        while end < len(messages) and messages[end]["role"] == "tool":
            end += 1
        results = [_Result(numbers[i], messages[i]) for i in range(index + (message["role"] != "tool"), end)]
        if not calls:
            if results:
                fail(f"turn {results[0].turn}", "a tool result answers no call; remove it or put it after its call")
            paired.append(message)
        else:
            block = _CallBlock(numbers[index], list(calls), results)
            is_last = end == len(messages)
            paired += _paired_block(block, message, fresh, may_be_open=is_last)
        index = end
    return tuple(paired)


def _paired_block(block: _CallBlock, message: Message, fresh: Iterator[str], *, may_be_open: bool) -> Iterator[Message]:
    given = [call["id"] for call in block.calls if call.get("id")]
    repeated = [call_id for call_id, n in Counter(given).items() if n > 1]
    if repeated:
        fail(f"turn {block.turn}", f'two calls have the id "{repeated[0]:.60}"; give each call its own id')
    answers = _match(block)
    if len(answers) < len(block.calls) and (block.results or not may_be_open):
        _refuse_missing(block, answers)
    calls: list[ToolCallJson] = []
    results: list[Message] = []
    for index, call in enumerate(block.calls):
        answer = answers.get(index)
        call_id = call.get("id") or (answer.call_id if answer else None) or next(fresh)
        calls.append({"id": call_id, "type": "function", "function": call["function"]})
        if answer is not None:
            results.append({**answer.message, "tool_call_id": call_id})
    yield {**message, "tool_calls": calls}
    yield from results


def _match(block: _CallBlock) -> dict[int, _Result]:
    """The result of each call, by the call's index."""
    answers: dict[int, _Result] = {}
    rest = _match_ids(block, answers)
    rest = _match_unique_names(block, rest, answers)
    _match_in_order(block, rest, answers)
    return answers


def _match_ids(block: _CallBlock, answers: dict[int, _Result]) -> list[_Result]:
    by_id = {call["id"]: index for index, call in enumerate(block.calls) if call.get("id")}
    rest = []
    seen: set[str] = set()
    for result in block.results:
        if result.call_id is not None and result.call_id in seen:
            fail(f"turn {result.turn}", f'a second result has the tool_call_id "{result.call_id:.60}"; keep one')
        seen.add(result.call_id or "")
        index = by_id.get(result.call_id or "")
        if index is not None:
            called = block.calls[index]["function"]["name"]
            if result.name not in (None, called):
                fail(f"turn {result.turn}", f'the result is named "{result.name:.60}", but its tool_call_id is that of '
                     f'a call to "{called:.60}". Correct the name or the id')  # fmt: skip
            answers[index] = result
            continue
        if result.call_id is not None and len(by_id) == len(block.calls):
            known = names(by_id)
            fail(f"turn {result.turn}", f'tool_call_id "{result.call_id:.60}" matches no call of turn {block.turn}; '
                 f"its calls have {known}. Correct the id")  # fmt: skip
        rest.append(result)
    return rest


def _match_unique_names(block: _CallBlock, results: list[_Result], answers: dict[int, _Result]) -> list[_Result]:
    calls_of: dict[str, list[int]] = defaultdict(list)
    for index, call in enumerate(block.calls):
        if index not in answers:
            calls_of[call["function"]["name"]].append(index)
    n_results = Counter(result.name for result in results)
    rest = []
    for result in results:
        indexes = calls_of.get(result.name or "", [])
        if result.name is not None and not indexes:
            wanted = names(calls_of) or "none"
            fail(f"turn {result.turn}", f'the result is named "{result.name:.60}", but no open call of turn '
                 f"{block.turn} has that name; open: {wanted}. Correct the name")  # fmt: skip
        if len(indexes) == 1 and n_results[result.name] == 1 and _agree(block, result, indexes[0]):
            answers[indexes[0]] = result
        else:
            rest.append(result)
    return rest


def _match_in_order(block: _CallBlock, results: list[_Result], answers: dict[int, _Result]) -> None:
    if not results:
        return
    open_calls = [index for index in range(len(block.calls)) if index not in answers]
    if len(results) > len(open_calls):
        extra = results[len(open_calls)]
        fail(f"turn {extra.turn}", f"a tool result answers no call: turn {block.turn} has {len(block.calls)} calls "
             f"and {len(block.results)} results; remove the result or add its call")  # fmt: skip
    if len(results) < len(open_calls):
        fail(f"turn {results[0].turn}", f"it is uncertain which of {len(open_calls)} calls of turn {block.turn} this "
             "result answers; give it the call's id, and every call a result")  # fmt: skip
    for groups in (_by_position(results, open_calls), _by_name(block, results, open_calls)):
        pairs = list(groups)
        if len(pairs) == len(results) and all(_agree(block, result, index) for result, index in pairs):
            answers.update({index: result for result, index in pairs})
            return
    fail(f"turn {results[0].turn}", f"it is uncertain which result answers which call of turn {block.turn}; "
         "give each result the id of its call")  # fmt: skip


def _by_position(results: Sequence[_Result], calls: Sequence[int]) -> Iterator[tuple[_Result, int]]:
    return zip(results, calls, strict=True)


def _by_name(block: _CallBlock, results: Sequence[_Result], calls: Sequence[int]) -> Iterator[tuple[_Result, int]]:
    """Each name's results with the calls of that name, in order."""
    open_calls: dict[str, list[int]] = defaultdict(list)
    for index in reversed(calls):
        open_calls[block.calls[index]["function"]["name"]].append(index)
    for result in results:
        if open_calls.get(result.name or ""):
            yield result, open_calls[result.name or ""].pop()


def _agree(block: _CallBlock, result: _Result, index: int) -> bool:
    call = block.calls[index]
    return result.name in (None, call["function"]["name"]) and not (result.call_id and call.get("id"))


def _refuse_missing(block: _CallBlock, answers: Iterable[int]) -> None:
    index = min(set(range(len(block.calls))) - set(answers))
    call = block.calls[index]
    call_id = f' (id "{call["id"]:.60}")' if call.get("id") else ""
    fail(f"turn {block.turn}", f'call {index} to "{call["function"]["name"]:.60}"{call_id} has no result, and the '
         "conversation goes on; add its result or end the conversation with the calls")  # fmt: skip


def _fresh_ids(messages: Sequence[Message]) -> Iterator[str]:
    taken = {call.get("id") for message in messages for call in message.get("tool_calls") or ()}
    taken |= {message.get("tool_call_id") for message in messages}
    number = 0
    while True:
        if (call_id := f"call{number:05d}") not in taken:
            yield call_id
        number += 1
