"""Find the text of each trained turn: the serving prompt, and what the model must write after it.

Everything is read from what the template itself renders. Text only; `proof` tokenizes it.
"""

import re
from collections.abc import Sequence
from datetime import date
from typing import NamedTuple, NoReturn

from trainer.chat.left_out import left_out, left_out_of_turn
from trainer.chat.profile import AnswerHeader, TemplateProfile, TurnKind, needed_features
from trainer.chat.refusals import Refused, does_not_continue, does_not_render, holds_stop
from trainer.chat.single_render import SingleRender, Suffixes, render_once
from trainer.chat.template.probe_messages import ANSWER, TEXT_TURN
from trainer.chat.template.render import Renderer, RenderError
from trainer.chat.template.server_shape import server_message
from trainer.chat.template.stops import Stop
from trainer.messages.canonical import is_trained
from trainer.types import Message, Tool


class TurnText(NamedTuple):
    """One trained turn in a text: `text[:start]` is the serving prompt, `text[start:end]` the target.

    The target ends with `stop`. Turns from a single render share its text.
    """

    turn: int
    text: str
    start: int
    end: int
    stop: str
    stop_id: int

    @property
    def prompt(self) -> str:
        """The serving prompt."""
        return self.text[: self.start]

    @property
    def target(self) -> str:
        """What the model must write, including the stop token."""
        return self.text[self.start : self.end]

    @property
    def whole(self) -> str:
        """The prompt and the target."""
        return self.text[: self.end]

    @property
    def stop_position(self) -> int:
        """The character position of the stop token in the text."""
        return self.end - len(self.stop)

    def begins(self, text: str) -> bool:
        """Return whether a text begins with this turn's prompt and target."""
        return text is self.text or text.startswith(self.whole)


class _Renders:
    """The renderings of one conversation."""

    def __init__(
        self, renderer: Renderer, messages: Sequence[Message], tools: Sequence[Tool], day: date | None
    ) -> None:
        self.renderer, self.messages, self.tools, self.day = renderer, messages, tools, day
        self._shaped = renderer.shape(messages)

    def prompt(self, turn: int) -> str:
        """Return the serving prompt of a turn. Raises `Refused`."""
        try:
            return self.renderer.text(self._shaped[:turn], self.tools, add_generation_prompt=True, day=self.day)
        except RenderError as error:
            reason = f"the chat template rejects the serving prompt of this turn: {error}"
            raise Refused(turn, reason) from error

    def through(self, turn: int) -> str:
        """Return the conversation up to the end of a turn. Raises `Refused`."""
        try:
            return self.renderer.text(self._shaped[: turn + 1], self.tools, add_generation_prompt=False, day=self.day)
        except RenderError as error:
            raise Refused(turn, f"the chat template rejects this turn: {error}") from error

    def with_other_answer(self, turn: int) -> str | None:
        """Return the conversation with another answer in place of a turn; None if the template rejects that."""
        other = [*self._shaped[:turn], server_message(TEXT_TURN, self.renderer.content_format)]
        try:
            return self.renderer.text(other, self.tools, add_generation_prompt=False, day=self.day)
        except RenderError:
            return None


class TurnReader:
    """Reads the trained turns of canonical conversations from what a template renders.

    `suffixes` are those of a template that is proven to preserve prefixes, or None.
    """

    def __init__(self, renderer: Renderer, profile: TemplateProfile, suffixes: Suffixes | None) -> None:
        self.renderer, self.profile, self.suffixes = renderer, profile, suffixes
        self._stop_pattern = re.compile("|".join(map(re.escape, profile.stop_tokens)) or "(?!)")
        self._after_stop = {stop.after for stop in (profile.text_stop, profile.call_stop) if stop}
        self._headers = tuple(text for header in profile.headers if (text := header.prompt.strip()))
        special = {str(t.content) for t in renderer.tokenizer.added_tokens_decoder.values() if t.special}
        self._special = re.compile("|".join(map(re.escape, sorted(special, key=len, reverse=True))) or "(?!)")

    def read(self, messages: Sequence[Message], tools: Sequence[Tool], *, day: date | None = None) -> list[TurnText]:
        """Return the trained turns in order, rendered on a day.

        Raises:
            Refused: the template drops part of the data, rejects a prompt, or does not write a turn as the
                continuation of its serving prompt.
        """
        if self.profile.refusal is not None:
            raise Refused(None, f"the chat template cannot be used for training: {self.profile.refusal}")
        turns = [turn for turn, message in enumerate(messages) if is_trained(message)]
        if not turns:
            return []
        if tools and "tool schemas" not in self.profile.renders:
            raise Refused(None, does_not_render("tool schemas"))
        try:
            found = self._read(messages, tools, turns, day)
            last = found[-1]
            known = {turn.turn for turn in found if turn.text is last.text}
            missing = left_out(messages[: last.turn + 1], tools, last.text[: last.end], known=known)
            if missing is not None:
                raise Refused(missing.turn, does_not_render(missing.what))
        except Refused as refused:
            raise self._explained(refused, messages) from refused
        return found

    def _explained(self, refused: Refused, messages: Sequence[Message]) -> Refused:
        """Return the refusal, or a better one if the conversation needs something that the template cannot write."""
        for turn, message in enumerate(messages):
            for feature in needed_features(message):
                if feature not in self.profile.renders:
                    return Refused(turn, does_not_render(feature))
        return refused

    def _read(
        self, messages: Sequence[Message], tools: Sequence[Tool], turns: Sequence[int], day: date | None
    ) -> list[TurnText]:
        until = turns[-1] + 1
        renders = _Renders(self.renderer, messages[:until], tools, day)
        single = self._single_render(messages[:until], tools, day)
        whole = renders.through(turns[-1]) if single is None else None
        found = []
        for turn in turns:
            text = None if single is None else self._from_single_render(single, messages, turn)
            if text is None:
                prompt = renders.prompt(turn)
                text = self._from_whole(whole, prompt, messages[turn], turn) if turn != turns[-1] else None
                text = text or self._from_own_renders(renders, prompt, turn, whole if turn == turns[-1] else None)
            missing = left_out_of_turn(messages[turn], text.text[text.start : text.stop_position])
            if missing is not None:
                _refuse_missing(text, missing, messages[turn])
            found.append(text)
        return found

    def _single_render(
        self, messages: Sequence[Message], tools: Sequence[Tool], day: date | None
    ) -> SingleRender | None:
        """Return one rendering that contains every turn, or None if the template is not proven to allow that."""
        if self.suffixes is None:
            return None
        try:
            return render_once(self.renderer, messages, tools, add_generation_prompt=False, day=day)
        except RenderError:
            return None

    def _from_single_render(self, single: SingleRender, messages: Sequence[Message], turn: int) -> TurnText | None:
        """Return a turn from the single render, or None if its header or its end is not the usual one."""
        if self.suffixes is None or turn < self.suffixes.n_leading or not {turn, turn + 1} <= single.starts.keys():
            return None
        text, begin, end = single.text, single.starts[turn], single.starts[turn + 1]
        start = begin + len(self.suffixes.generation_prompt)
        found = self._stop_pattern.search(text, start, end)
        if found is None or not text.startswith(self.suffixes.generation_prompt, begin):
            return None
        if self._kind(messages[turn]) not in self.profile.settled:
            return None
        if not self._ends_turn(messages[turn], text[found.end() : end] + self.suffixes.final):
            return None
        return TurnText(turn, text, start, found.end(), found.group(), self.profile.stops[found.group()])

    def _from_whole(self, whole: str | None, prompt: str, message: Message, turn: int) -> TurnText | None:
        """Return a turn from the rendering of a longer conversation, or None if that may write it in another way.

        The text before the turn is compared with its serving prompt. The turn itself is taken if turns of its kind
        stay as they are when a conversation goes on, and if it has everything of the message and no more.
        """
        stop = self._usual_stop(message)
        if whole is None or stop is None or stop.opens_next or self._kind(message) not in self.profile.settled:
            return None
        found = self._stop_pattern.search(whole, len(prompt))
        if found is None or not whole.startswith(prompt):
            return None
        target = whole[len(prompt) : found.start()]
        if left_out_of_turn(message, target) is not None or any(header in target for header in self._headers):
            return None
        return TurnText(turn, whole, len(prompt), found.end(), found.group(), self.profile.stops[found.group()])

    def _from_own_renders(self, renders: _Renders, prompt: str, turn: int, final: str | None) -> TurnText:
        """Return a turn from two renderings: its serving prompt, and the conversation up to its end."""
        final = renders.through(turn) if final is None else final
        written = self._continuation(renders, turn, prompt, final)
        message = renders.messages[turn]
        target, stop = self._cut(turn, message, written)
        # If the turn directly continues its prompt, the whole rendering is one text for all its turns.
        text = final if final.startswith(prompt) and final.startswith(target, len(prompt)) else prompt + target
        return TurnText(turn, text, len(prompt), len(prompt) + len(target), stop, self.profile.stops[stop])

    def _continuation(self, renders: _Renders, turn: int, prompt: str, final: str) -> str:
        """Return what `final` adds to the serving prompt. Raises `Refused` if it does not continue the prompt."""
        if final.startswith(prompt):
            return final[len(prompt) :]
        for header in self.profile.headers:
            if not prompt.endswith(header.prompt):
                continue
            if header.unwritten and final.startswith(prompt.removesuffix(header.unwritten)):
                return final[len(prompt) - len(header.unwritten) :]
            moved = self._moved(renders, turn, final, header)
            if moved is not None:
                return moved
        raise Refused(turn, does_not_continue(prompt, final))

    def _moved(self, renders: _Renders, turn: int, final: str, header: AnswerHeader) -> str | None:
        """Return the turn if the template changes the text before a turn once the turn is present.

        Mistral's templates move the system message. A render with another answer in its place shows where the turn
        itself begins.
        """
        other = renders.with_other_answer(turn)
        start = -1 if other is None else other.rfind(header.lead + ANSWER)
        if other is None or start < 0:
            return None
        before = final[:start]
        return final[start:] if other.startswith(before) and before.endswith(header.written) else None

    def _cut(self, turn: int, message: Message, written: str) -> tuple[str, str]:
        """Return the written turn up to its stop token, and that token. It must be the only stop token in the turn."""
        stop = self._usual_stop(message)
        found = self._stop_pattern.search(written)
        if stop is not None and stop.opens_next and found is None:
            return written.removesuffix(stop.after) + stop.token, stop.token
        if found is None:
            names = ", ".join(self.profile.stop_tokens)
            raise Refused(turn, f"it does not end with a stop token ({names}): {written[-120:]!r}")
        if not self._ends_turn(message, written[found.end() :]):
            raise Refused(turn, holds_stop(found.group()))
        return written[: found.end()], found.group()

    def _ends_turn(self, message: Message, after: str) -> bool:
        """Return whether a stop token ends the turn if this text comes after it."""
        stop = self._usual_stop(message)
        if stop is not None and stop.opens_next:
            return False
        return after in self._after_stop or not self._special.sub("", after).strip()

    def _kind(self, message: Message) -> TurnKind:
        return bool(message.get("tool_calls")), bool(message.get("reasoning_content"))

    def _usual_stop(self, message: Message) -> Stop | None:
        return self.profile.call_stop if message.get("tool_calls") else self.profile.text_stop


def _refuse_missing(text: TurnText, missing: str, message: Message) -> NoReturn:
    """Raise `Refused` for a target that lacks part of its message."""
    if text.stop in (message.get("content") or "") + (message.get("reasoning_content") or ""):
        raise Refused(text.turn, holds_stop(text.stop))
    raise Refused(text.turn, does_not_render(missing))
