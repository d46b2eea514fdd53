"""What each trained turn looks like as text: the serving prompt, and what the model has to write after it.

The template's own renderings are the only authority. Knows no tokens.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple, NoReturn

from trainer.chat.canonical import is_trained
from trainer.chat.probe_messages import ANSWER, TALK
from trainer.chat.profile import Feature, Stop, TemplateProfile
from trainer.chat.render import Renderer, RenderError
from trainer.chat.single_render import MarkedText, Tails, render_marked
from trainer.errors import TemplateError
from trainer.types import Message, Tool

REMEDY = "set model.chat_template_path to a template that can (chatml_tools.jinja can)"


class TurnText(NamedTuple):
    """One trained turn in a text: `text[:start]` is the serving prompt, `text[start:end]` what follows it.

    The target ends with `stop`. Turns of one rendering share its text.
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
        """What the model has to write, stop token included."""
        return self.text[self.start : self.end]

    @property
    def whole(self) -> str:
        """Prompt and target."""
        return self.text[: self.end]

    @property
    def stop_position(self) -> int:
        """Character position of the stop token in the text."""
        return self.end - len(self.stop)

    def begins(self, text: str) -> bool:
        """Whether a text begins with this turn's prompt and target."""
        return text is self.text or text.startswith(self.whole)


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
        marked = self._render_once(messages[: turns[-1] + 1], tools) if turns else None
        return [self._from_one(marked, messages, turn) or self._on_its_own(messages, tools, turn) for turn in turns]

    def _check_features(self, messages: Sequence[Message], tools: Sequence[Tool]) -> None:
        """Refuse a conversation that needs what the template is known to drop."""
        renders = self.profile.renders
        if tools and "tool schemas" not in renders:
            raise TemplateError(f"the chat template does not render tool schemas; {REMEDY}")
        for turn, message in enumerate(messages):
            for feature in needed_features(message):
                if feature not in renders:
                    raise TemplateError(f"turn {turn}: the chat template does not render {feature}; {REMEDY}")

    def _render_once(self, messages: Sequence[Message], tools: Sequence[Tool]) -> MarkedText | None:
        """One rendering that holds every turn; None where the template is not proven to allow that."""
        if self.tails is None:
            return None
        try:
            return render_marked(self.renderer, messages, tools, add_generation_prompt=False)
        except RenderError:
            return None

    def _from_one(self, marked: MarkedText | None, messages: Sequence[Message], turn: int) -> TurnText | None:
        """A turn of the one rendering; None where its header or its end are not the usual ones."""
        if marked is None or self.tails is None or turn - 1 not in marked.ends or turn not in marked.ends:
            return None
        text, begin, end = marked.text, marked.ends[turn - 1], marked.ends[turn]
        start = begin + len(self.tails.prompt)
        found = self._stop_pattern.search(text, start, end)
        if found is None or not text.startswith(self.tails.prompt, begin):
            return None
        if not self._ends_turn(messages[turn], text[found.end() : end] + self.tails.final):
            return None
        return TurnText(turn, text, start, found.end(), found.group(), self.profile.stops[found.group()])

    def _on_its_own(self, messages: Sequence[Message], tools: Sequence[Tool], turn: int) -> TurnText:
        """A turn from two renderings of its own: its serving prompt, and the conversation up to its end."""
        try:
            prompt = self.renderer(messages[:turn], tools, add_generation_prompt=True)
        except RenderError as error:
            raise TemplateError(
                f"turn {turn}: the chat template refuses the serving prompt of this turn: {error}; {REMEDY}, or "
                "set train: false on the turn"
            ) from error
        try:
            final = self.renderer(messages[: turn + 1], tools, add_generation_prompt=False)
        except RenderError as error:
            raise TemplateError(f"turn {turn}: the chat template refuses it: {error}; {REMEDY}") from error
        written = self._continuation(messages[:turn], tools, prompt, final)
        if written is None:
            self._refuse(turn, messages[turn], prompt, final)
        target, stop = self._cut(turn, messages[turn], written)
        text = prompt + target
        return TurnText(turn, text, len(prompt), len(text), stop, self.profile.stops[stop])

    def _continuation(self, messages: Sequence[Message], tools: Sequence[Tool], prompt: str, final: str) -> str | None:
        """What the turn's own rendering has behind the serving prompt; None where it does not continue it."""
        if final.startswith(prompt):
            return final[len(prompt) :]
        header = self.profile.header
        if not prompt.endswith(header.prompt):
            return None
        if final.startswith(prompt.removesuffix(header.unwritten)):
            return final[len(prompt) - len(header.unwritten) :]
        # Some templates change what stands before a turn once the turn is there (Mistral's move the system
        # message). Then another answer in the turn's place shows where the turn itself begins.
        try:
            twin = self.renderer((*messages, TALK), tools, add_generation_prompt=False)
        except RenderError:
            return None
        start = twin.rfind(header.lead + ANSWER)
        before = final[:start]
        return final[start:] if start >= 0 and twin.startswith(before) and before.endswith(header.written) else None

    def _refuse(self, turn: int, message: Message, prompt: str, final: str) -> NoReturn:
        remedy = f"{REMEDY}, or set train: false on the turn"
        if message.get("reasoning_content") and self.renderer.switches.get("enable_thinking") is False:
            remedy = "set data.chat_template_kwargs to {enable_thinking: true} for data with reasoning"
        raise TemplateError(
            f"turn {turn}: the template does not write this turn as a continuation of its serving prompt "
            f"(the prompt ends {prompt[-60:]!r}, the turn is written {final[-120:]!r}); {remedy}"
        )

    def _cut(self, turn: int, message: Message, written: str) -> tuple[str, str]:
        """Cut the written turn behind its stop token, which must be its only one; return both."""
        stop = self._usual_stop(message)
        found = self._stop_pattern.search(written)
        if stop is not None and stop.opens_next and found is None:
            return written + stop.token, stop.token
        if found is None:
            names = ", ".join(self.profile.stop_tokens)
            raise TemplateError(f"turn {turn}: no stop token ({names}) ends it: {written[-120:]!r}; {REMEDY}")
        if not self._ends_turn(message, written[found.end() :]):
            raise TemplateError(
                f"turn {turn}: the stop token {found.group()!r} lies inside the turn, where a served model would "
                "stop; remove it from the text, or set train: false on the turn"
            )
        return written[: found.end()], found.group()

    def _ends_turn(self, message: Message, behind: str) -> bool:
        """Whether a stop token with this text behind it ends the turn."""
        stop = self._usual_stop(message)
        return behind in self._behind_stop and not (stop is not None and stop.opens_next)

    def _usual_stop(self, message: Message) -> Stop | None:
        return self.profile.call_stop if message.get("tool_calls") else self.profile.talk_stop


def needed_features(message: Message) -> list[Feature]:
    """What a template must be able to write for this message."""
    role = message["role"]
    if role == "user":
        return []
    if role != "assistant":
        return ["system message" if role == "system" else "tool results"]
    needed: list[Feature] = []
    calls = message.get("tool_calls")
    if calls:
        needed.append("tool calls")
        if len(calls) > 1:
            needed.append("several calls in a turn")
        if message.get("content"):
            needed.append("content beside a call")
    if message.get("reasoning_content"):
        needed.append("reasoning")
    return needed
