"""What each trained turn looks like as text: the serving prompt, and what the model has to write after it.

Asks the template itself, once per prompt and once per written turn. Knows no tokens.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, NoReturn

from trainer.chat.canonical import is_trained
from trainer.chat.causal import Tails, render_marked
from trainer.chat.profile import Feature, Stop, TemplateProfile
from trainer.chat.render import Renderer, RenderError
from trainer.errors import TemplateError
from trainer.types import Message, Tool

REMEDY = "set model.chat_template_path to a template that can (chatml_tools.jinja can)"


@dataclass(frozen=True, slots=True)
class TurnText:
    """One trained turn: `prompt` is the serving prompt, `target` what follows it, stop token included."""

    turn: int
    prompt: str
    target: str
    stop: Stop

    @property
    def whole(self) -> str:
        """Prompt and target."""
        return self.prompt + self.target

    @property
    def stop_position(self) -> int:
        """Character position of the stop token in the whole."""
        return len(self.prompt) + len(self.target) - len(self.stop.token)


class Written(NamedTuple):
    """Two renderings of a conversation: the serving prompt of a turn, and everything up to the turn's end."""

    prompt: str
    final: str


class TurnReader:
    """Reads the trained turns of canonical conversations off a template."""

    def __init__(self, renderer: Renderer, profile: TemplateProfile, tails: Tails | None) -> None:
        self.renderer, self.profile, self.tails = renderer, profile, tails
        self.stops = {stop.token: stop for stop in profile.stops}
        self.stop_pattern = re.compile("|".join(re.escape(token) for token in self.stops))

    def read(self, messages: Sequence[Message], tools: Sequence[Tool]) -> list[TurnText]:
        """Return the trained turns in order.

        Raises:
            TemplateError: the template drops what the data holds, refuses a prompt, or does not write a turn
                as the continuation of its serving prompt. The text names the turn.
        """
        if self.profile.refusal is not None:
            raise TemplateError(f"the chat template cannot be trained: {self.profile.refusal}; {REMEDY}")
        self._check_features(messages, tools)
        turns = [turn for turn, message in enumerate(messages) if is_trained(message)]
        written = self._written_at_once(messages, tools, turns) if turns and self.tails else None
        if written is None:
            written = [self._written(messages, tools, turn) for turn in turns]
        return [
            self._turn(turn, messages[turn], *texts) for turn, texts in zip(turns, written, strict=True)
        ]

    def _check_features(self, messages: Sequence[Message], tools: Sequence[Tool]) -> None:
        """Refuse a conversation that needs what the template is known to drop."""
        if tools and "tool schemas" not in self.profile.renders:
            self._lacks(None, "tool schemas")
        for turn, message in enumerate(messages):
            for feature in needed_features(message):
                if feature not in self.profile.renders:
                    self._lacks(turn, feature)

    def _lacks(self, turn: int | None, feature: Feature) -> NoReturn:
        where = "" if turn is None else f"turn {turn}: "
        raise TemplateError(f"{where}the chat template does not render the {feature}; {REMEDY}")

    def _written(self, messages: Sequence[Message], tools: Sequence[Tool], turn: int) -> Written:
        """The template's own word: the serving prompt, and the conversation up to the turn."""
        prompt = self._render(messages[:turn], tools, turn, add_generation_prompt=True)
        return Written(prompt, self._render(messages[: turn + 1], tools, turn, add_generation_prompt=False))

    def _written_at_once(
        self, messages: Sequence[Message], tools: Sequence[Tool], turns: Sequence[int]
    ) -> list[Written] | None:
        """The same texts from one rendering, where the template is proven to write messages in order."""
        try:
            marked = render_marked(
                self.renderer, messages[: turns[-1] + 1], tools, add_generation_prompt=False
            )
        except RenderError:
            return None
        text, ends = marked.text, marked.ends
        if self.tails is None or any(turn - 1 not in ends or turn not in ends for turn in turns):
            return None
        return [
            Written(text[: ends[turn - 1]] + self.tails.prompt, text[: ends[turn]] + self.tails.final)
            for turn in turns
        ]

    def _turn(self, turn: int, message: Message, prompt: str, final: str) -> TurnText:
        start = len(prompt)
        if not final.startswith(prompt):
            start -= len(self.profile.generation_only)
            if not prompt.endswith(self.profile.generation_only) or not final.startswith(prompt[:start]):
                raise TemplateError(
                    f"turn {turn}: the template does not write this turn as the continuation of its serving prompt "
                    f"(prompt ends {prompt[-60:]!r}, turn is written {final[-120:]!r}); {REMEDY}, or set train: false"
                )
        return TurnText(turn, prompt, *self._target(turn, final[start:], message))

    def _target(self, turn: int, written: str, message: Message) -> tuple[str, Stop]:
        """Cut the written turn behind its stop token, which must be its only one and end it."""
        expected = self.profile.stop_call if message.get("tool_calls") else self.profile.stop_talk
        found = self.stop_pattern.search(written)
        if expected is not None and expected.opens_next and found is None:
            return written + expected.token, expected
        if found is None:
            raise TemplateError(
                f"turn {turn}: no stop token ({', '.join(self.stops)}) ends it: {written[-120:]!r}"
            )
        stop = self.stops[found.group()]
        if written[found.end() :] not in {stop.after for stop in self.profile.stops}:
            raise TemplateError(
                f"turn {turn}: the stop token {found.group()!r} lies inside the turn, where a served model would "
                "stop: remove it from the text, or set train: false on the turn"
            )
        return written[: found.end()], stop

    def _render(
        self, messages: Sequence[Message], tools: Sequence[Tool], turn: int, *, add_generation_prompt: bool
    ) -> str:
        try:
            return self.renderer(messages, tools, add_generation_prompt=add_generation_prompt)
        except RenderError as error:
            what = "refuses the serving prompt of this turn" if add_generation_prompt else "refuses this turn"
            raise TemplateError(f"turn {turn}: the chat template {what}: {error}; {REMEDY}") from error


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
