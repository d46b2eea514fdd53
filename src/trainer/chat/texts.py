"""What each trained turn looks like as text: the serving prompt, and what the model has to write after it.

The template's own renderings are the only authority. Knows no tokens.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, NoReturn

from trainer.chat.canonical import is_trained
from trainer.chat.marked import Tails, render_marked
from trainer.chat.profile import Feature, TemplateProfile
from trainer.chat.render import Renderer, RenderError
from trainer.errors import TemplateError
from trainer.types import Message, Tool

REMEDY = "set model.chat_template_path to a template that can (chatml_tools.jinja can)"


@dataclass(frozen=True, slots=True)
class TurnText:
    """One trained turn: `prompt` is the serving prompt, `target` what follows it, ending with `stop`."""

    turn: int
    prompt: str
    target: str
    stop: str
    stop_id: int

    @property
    def whole(self) -> str:
        """Prompt and target."""
        return self.prompt + self.target

    @property
    def stop_position(self) -> int:
        """Character position of the stop token in the whole."""
        return len(self.prompt) + len(self.target) - len(self.stop)


class Written(NamedTuple):
    """Two renderings: the serving prompt of a turn, and the conversation up to the end of that turn."""

    prompt: str
    final: str


class TurnReader:
    """Reads the trained turns of canonical conversations off a template.

    `tails` are those of a template that is proven to write messages in order, or None.
    """

    def __init__(self, renderer: Renderer, profile: TemplateProfile, tails: Tails | None) -> None:
        self.renderer, self.profile, self.tails = renderer, profile, tails
        self._stop_pattern = re.compile("|".join(map(re.escape, profile.stop_tokens)) or "(?!)")
        self._behind_stop = {stop.after for stop in (profile.talk_stop, profile.call_stop) if stop}

    def read(self, messages: Sequence[Message], tools: Sequence[Tool]) -> list[TurnText]:
        """Return the trained turns in order.

        Raises:
            TemplateError: the template drops what the data holds, refuses a prompt, or does not write a turn
                as the continuation of its serving prompt. The text names the turn.
        """
        if self.profile.refusal is not None:
            raise TemplateError(f"the chat template cannot be trained: {self.profile.refusal}; or {REMEDY}")
        self._check_features(messages, tools)
        turns = [turn for turn, message in enumerate(messages) if is_trained(message)]
        written = self._written_at_once(messages, tools, turns)
        if written is None:
            written = [self._written(messages, tools, turn) for turn in turns]
        return [self._turn(turn, messages[turn], texts) for turn, texts in zip(turns, written, strict=True)]

    def _check_features(self, messages: Sequence[Message], tools: Sequence[Tool]) -> None:
        """Refuse a conversation that needs what the template is known to drop."""
        renders = self.profile.renders
        if tools and "tool schemas" not in renders:
            raise TemplateError(f"the chat template does not render tool schemas; {REMEDY}")
        for turn, message in enumerate(messages):
            for feature in needed_features(message):
                if feature not in renders:
                    raise TemplateError(f"turn {turn}: the chat template does not render {feature}; {REMEDY}")

    def _written(self, messages: Sequence[Message], tools: Sequence[Tool], turn: int) -> Written:
        """Both texts of a turn, each from a rendering of its own."""
        try:
            prompt = self.renderer(messages[:turn], tools, add_generation_prompt=True)
        except RenderError as error:
            raise TemplateError(
                f"turn {turn}: the chat template refuses the serving prompt of this turn: {error}; {REMEDY}, or "
                "set train: false on the turn"
            ) from error
        try:
            return Written(prompt, self.renderer(messages[: turn + 1], tools, add_generation_prompt=False))
        except RenderError as error:
            raise TemplateError(f"turn {turn}: the chat template refuses it: {error}; {REMEDY}") from error

    def _written_at_once(
        self, messages: Sequence[Message], tools: Sequence[Tool], turns: Sequence[int]
    ) -> list[Written] | None:
        """The same texts cut from one rendering; None where the template is not proven to allow that."""
        if self.tails is None or not turns:
            return None
        try:
            text, ends = render_marked(self.renderer, messages[: turns[-1] + 1], tools, add_generation_prompt=False)
        except RenderError:
            return None
        if any(turn - 1 not in ends or turn not in ends for turn in turns):
            return None
        return [
            Written(text[: ends[turn - 1]] + self.tails.prompt, text[: ends[turn]] + self.tails.final) for turn in turns
        ]

    def _turn(self, turn: int, message: Message, written: Written) -> TurnText:
        prompt, final = written
        start = len(prompt)
        if not final.startswith(prompt):
            start -= len(self.profile.generation_only)
            if not (prompt.endswith(self.profile.generation_only) and final.startswith(prompt[:start])):
                self._refuse_continuation(turn, message, written)
        target, stop = self._cut(turn, message, final[start:])
        return TurnText(turn, prompt, target, stop, self.profile.stops[stop])

    def _refuse_continuation(self, turn: int, message: Message, written: Written) -> NoReturn:
        remedy = f"{REMEDY}, or set train: false on the turn"
        if message.get("reasoning_content") and self.renderer.switches.get("enable_thinking") is False:
            remedy = "set data.chat_template_kwargs to {enable_thinking: true} for data with reasoning"
        raise TemplateError(
            f"turn {turn}: the template does not write this turn as a continuation of its serving prompt "
            f"(the prompt ends {written.prompt[-60:]!r}, the turn is written {written.final[-120:]!r}); {remedy}"
        )

    def _cut(self, turn: int, message: Message, written: str) -> tuple[str, str]:
        """Cut the written turn behind its stop token, which must be its only one; return both."""
        expected = self.profile.call_stop if message.get("tool_calls") else self.profile.talk_stop
        found = self._stop_pattern.search(written)
        if expected is not None and expected.opens_next and found is None:
            return written + expected.token, expected.token
        if found is None:
            names = ", ".join(self.profile.stop_tokens)
            raise TemplateError(f"turn {turn}: no stop token ({names}) ends it: {written[-120:]!r}; {REMEDY}")
        if written[found.end() :] not in self._behind_stop or (expected is not None and expected.opens_next):
            raise TemplateError(
                f"turn {turn}: the stop token {found.group()!r} lies inside the turn, where a served model would "
                "stop; remove it from the text, or set train: false on the turn"
            )
        return written[: found.end()], found.group()


def needed_features(message: Message) -> list[Feature]:
    """What a template must be able to write for this message."""
    needed: list[Feature] = []
    calls = message.get("tool_calls") or ()
    if message["role"] == "system":
        needed.append("system message")
    if message["role"] == "tool":
        needed.append("tool results")
    if calls:
        needed.append("tool calls")
    if len(calls) > 1:
        needed.append("several calls in a turn")
    if calls and message.get("content"):
        needed.append("content beside a call")
    if message.get("reasoning_content"):
        needed.append("reasoning")
    return needed
