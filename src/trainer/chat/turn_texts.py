"""Find the text of each trained turn: the serving prompt, and what the model must write after it.

Everything is read from what the template itself renders. Text only; `proof` tokenizes it.
"""

import json
import re
from collections.abc import Sequence
from typing import NamedTuple, NoReturn

from trainer.chat.probe_messages import ANSWER, TEXT_TURN
from trainer.chat.profile import Stop, TemplateProfile, needed_features
from trainer.chat.render import Renderer, RenderError
from trainer.chat.single_render import SingleRender, Suffixes, render_once
from trainer.errors import TemplateError
from trainer.messages.canonical import is_trained
from trainer.types import Message, Tool

REMEDY = "set model.chat_template_path to another template (chatml_tools.jinja renders everything)"


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


def _check_nothing_left_out(messages: Sequence[Message], text: str) -> None:
    """Refuse a row of which the template leaves out what the system or the user says: a server would not show it."""
    for turn, message in enumerate(messages):
        content = message.get("content") or ""
        if message["role"] in ("system", "user") and content.strip() not in text and not _is_written(content, text):
            raise TemplateError(f"turn {turn}: the chat template leaves out this {message['role']} message; {REMEDY}")


def _is_written(content: str, text: str) -> bool:
    """Whether a text has some content, without regard to white space, as it is or as JSON."""
    squeezed = "".join(text.split())
    forms = (content, json.dumps(content, ensure_ascii=False)[1:-1], json.dumps(content)[1:-1])
    return any("".join(form.split()) in squeezed for form in forms)


class TurnReader:
    """Reads the trained turns of canonical conversations from what a template renders.

    `suffixes` are those of a template that is proven to preserve prefixes, or None.
    """

    def __init__(self, renderer: Renderer, profile: TemplateProfile, suffixes: Suffixes | None) -> None:
        self.renderer, self.profile, self.suffixes = renderer, profile, suffixes
        self._stop_pattern = re.compile("|".join(map(re.escape, profile.stop_tokens)) or "(?!)")
        self._after_stop = {stop.after for stop in (profile.text_stop, profile.call_stop) if stop}

    def read(self, messages: Sequence[Message], tools: Sequence[Tool]) -> list[TurnText]:
        """Return the trained turns in order.

        Raises:
            TemplateError: the template drops part of the data, rejects a prompt, or does not write a turn as
                the continuation of its serving prompt. The text names the turn.
        """
        if self.profile.refusal is not None:
            joint = "; or " if "; set " in self.profile.refusal else "; "
            raise TemplateError(f"the chat template cannot be used for training: {self.profile.refusal}{joint}{REMEDY}")
        self._check_features(messages, tools)
        turns = [turn for turn, message in enumerate(messages) if is_trained(message)]
        single = self._single_render(messages[: turns[-1] + 1], tools) if turns else None
        found = [
            self._from_single_render(single, messages, turn) or self._from_own_renders(messages, tools, turn)
            for turn in turns
        ]
        if found:
            _check_nothing_left_out(messages[: turns[-1]], found[-1].whole)
        return found

    def _check_features(self, messages: Sequence[Message], tools: Sequence[Tool]) -> None:
        """Refuse a conversation with anything that the template is known to drop."""
        renders = self.profile.renders
        if tools and "tool schemas" not in renders:
            raise TemplateError(f"the chat template does not render tool schemas; {REMEDY}")
        for turn, message in enumerate(messages):
            for feature in needed_features(message):
                if feature not in renders:
                    raise TemplateError(f"turn {turn}: the chat template does not render {feature}; {REMEDY}")

    def _single_render(self, messages: Sequence[Message], tools: Sequence[Tool]) -> SingleRender | None:
        """Return one rendering that contains every turn, or None if the template is not proven to allow that."""
        if self.suffixes is None:
            return None
        try:
            return render_once(self.renderer, messages, tools, add_generation_prompt=False)
        except RenderError:
            return None

    def _from_single_render(
        self, single: SingleRender | None, messages: Sequence[Message], turn: int
    ) -> TurnText | None:
        """Return a turn from the single render, or None if its header or its end is not the usual one."""
        if single is None or self.suffixes is None or turn - 1 not in single.ends or turn not in single.ends:
            return None
        text, begin, end = single.text, single.ends[turn - 1], single.ends[turn]
        start = begin + len(self.suffixes.generation_prompt)
        found = self._stop_pattern.search(text, start, end)
        if found is None or not text.startswith(self.suffixes.generation_prompt, begin):
            return None
        if not self._ends_turn(messages[turn], text[found.end() : end] + self.suffixes.final):
            return None
        return TurnText(turn, text, start, found.end(), found.group(), self.profile.stops[found.group()])

    def _from_own_renders(self, messages: Sequence[Message], tools: Sequence[Tool], turn: int) -> TurnText:
        """Return a turn from two renderings: its serving prompt, and the conversation up to its end."""
        try:
            prompt = self.renderer(messages[:turn], tools, add_generation_prompt=True)
        except RenderError as error:
            raise TemplateError(
                f"turn {turn}: the chat template rejects the serving prompt of this turn: {error}; {REMEDY}, or "
                "set train: false on the turn"
            ) from error
        try:
            final = self.renderer(messages[: turn + 1], tools, add_generation_prompt=False)
        except RenderError as error:
            raise TemplateError(f"turn {turn}: the chat template rejects this turn: {error}; {REMEDY}") from error
        written = self._continuation(messages[:turn], tools, prompt, final)
        if written is None:
            self._refuse(turn, messages[turn], prompt, final)
        target, stop = self._cut(turn, messages[turn], written)
        text = prompt + target
        return TurnText(turn, text, len(prompt), len(text), stop, self.profile.stops[stop])

    def _continuation(self, messages: Sequence[Message], tools: Sequence[Tool], prompt: str, final: str) -> str | None:
        """Return what `final` adds to the serving prompt, or None if it does not continue the prompt."""
        if final.startswith(prompt):
            return final[len(prompt) :]
        header = self.profile.header
        if not prompt.endswith(header.prompt):
            return None
        if final.startswith(prompt.removesuffix(header.unwritten)):
            return final[len(prompt) - len(header.unwritten) :]
        # Some templates change the text before a turn once the turn is present (Mistral's move the system
        # message). Then a render with another answer in its place shows where the turn itself begins.
        try:
            probe = self.renderer((*messages, TEXT_TURN), tools, add_generation_prompt=False)
        except RenderError:
            return None
        start = probe.rfind(header.lead + ANSWER)
        before = final[:start]
        return final[start:] if start >= 0 and probe.startswith(before) and before.endswith(header.written) else None

    def _refuse(self, turn: int, message: Message, prompt: str, final: str) -> NoReturn:
        remedy = f"{REMEDY}, or set train: false on the turn"
        if message.get("reasoning_content") and self.renderer.template_kwargs.get("enable_thinking") is False:
            remedy = "set data.chat_template_kwargs to {enable_thinking: true} for data with reasoning"
        raise TemplateError(
            f"turn {turn}: the template does not write this turn as a continuation of its serving prompt "
            f"(the prompt ends with {prompt[-60:]!r}, the rendered turn with {final[-120:]!r}); {remedy}"
        )

    def _cut(self, turn: int, message: Message, written: str) -> tuple[str, str]:
        """Return the written turn up to its stop token, and that token. It must be the only stop token in the turn."""
        stop = self._usual_stop(message)
        found = self._stop_pattern.search(written)
        if stop is not None and stop.opens_next and found is None:
            return written + stop.token, stop.token
        if found is None:
            names = ", ".join(self.profile.stop_tokens)
            raise TemplateError(
                f"turn {turn}: it does not end with a stop token ({names}): {written[-120:]!r}; {REMEDY}"
            )
        if not self._ends_turn(message, written[found.end() :]):
            raise TemplateError(
                f"turn {turn}: the stop token {found.group()!r} is inside the turn, where a served model would "
                "stop; remove it from the text, or set train: false on the turn"
            )
        return written[: found.end()], found.group()

    def _ends_turn(self, message: Message, after: str) -> bool:
        """Return whether a stop token ends the turn if this text comes after it."""
        stop = self._usual_stop(message)
        return after in self._after_stop and not (stop is not None and stop.opens_next)

    def _usual_stop(self, message: Message) -> Stop | None:
        return self.profile.call_stop if message.get("tool_calls") else self.profile.text_stop
