"""Find out how a tokenizer's chat template behaves, by rendering small conversations once.

Every probe writes words that occur nowhere else and looks where they come out. Uses no data, and has no
knowledge of particular model families.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import Any

from trainer.chat.probe_messages import (
    ANSWER,
    CALL_TURN,
    CALL_WITH_TEXT_TURN,
    OTHER_VALUE,
    PARALLEL_CALLS_TURN,
    QUESTION,
    REASONING,
    REASONING_TURN,
    RESULT,
    RESULT_TURN,
    SYSTEM,
    SYSTEM_TURN,
    TEXT_TURN,
    TOOLS,
    USER_TURN,
    VALUE,
)
from trainer.chat.profile import (
    AnswerHeader,
    Feature,
    Stop,
    TemplateProfile,
    find_call_stop,
    find_text_stop,
    shared_length,
)
from trainer.chat.render import MessageForm, Renderer, RenderError, Tokenizer, added_token_pattern
from trainer.chat.source import TemplateSource
from trainer.types import Message, Tool

REASONING_KEYS = ("reasoning_content", "reasoning", "thinking")


class Probe:
    """The probing of one template."""

    def __init__(self, tokenizer: Tokenizer, source: TemplateSource, template_kwargs: Mapping[str, Any]) -> None:
        self.source = source
        self.vocabulary = tokenizer.get_added_vocab()
        self.added = added_token_pattern(self.vocabulary)
        self.dates: list[str] = []
        watched = {"strftime_now": self._watched_date} if source.mentions_clock else {}
        self.renderer = Renderer(tokenizer, {**watched, **template_kwargs})
        self.ignored = tuple(sorted(set(template_kwargs) - set(source.template_kwargs) - {"strftime_now"}))

    def run(self) -> TemplateProfile:
        """Return the profile. If nothing can be trained with the template, its `refusal` says why."""
        self.renderer = replace(self.renderer, form=self._form())
        renders = frozenset(self._features())
        text_stop = self._text_stop()
        call_stop = self._call_stop(text_stop) if "tool calls" in renders else None
        header, mismatch = self._header()
        no_stop = self._stop_problem(text_stop, call_stop, renders)
        problems = (self._plain_problem(), self._date_problem(), mismatch, no_stop)
        return TemplateProfile(
            form=self.renderer.form,
            renders=renders,
            text_stop=text_stop,
            call_stop=call_stop,
            stops={stop.token: self.vocabulary[stop.token] for stop in (text_stop, call_stop) if stop},
            header=header,
            template_kwargs=self.source.template_kwargs,
            ignored_kwargs=self.ignored,
            stable=self._is_stable(text_stop, call_stop),
            refusal=next((problem for problem in problems if problem), None),
        )

    def _text(self, *messages: Message, tools: Sequence[Tool] = (), prompt: bool = False) -> str | None:
        """Return the rendered probe, or None if the template rejects it."""
        try:
            return self.renderer(messages, tools, add_generation_prompt=prompt)
        except RenderError:
            return None

    def _shows(
        self, words: Sequence[str], *messages: Message, tools: Sequence[Tool] = (), prompt: bool = False
    ) -> bool:
        text = self._text(*messages, tools=tools, prompt=prompt)
        return text is not None and all(word in text for word in words)

    def _watched_date(self, form: str) -> str:
        self.dates.append(form)
        return "qxdate"

    def _form(self) -> MessageForm:
        """Return the message form in which text, calls and reasoning come out right. Servers prefer the first forms."""
        forms: list[MessageForm] = [MessageForm(), MessageForm(parts=True)]
        form = self._first(forms, (QUESTION, ANSWER), USER_TURN, TEXT_TURN) or forms[0]
        for arguments, blank in product(("object", "string"), ("", "null", "missing")):
            candidate = replace(form, arguments=arguments, blank=blank)  # type: ignore[arg-type]
            self.renderer = replace(self.renderer, form=candidate)
            if self._writes_calls():
                form = candidate
                break
        forms = [replace(form, reasoning_key=key) for key in REASONING_KEYS]
        return self._first(forms, (REASONING, ANSWER), USER_TURN, REASONING_TURN) or form

    def _first(self, forms: Sequence[MessageForm], words: Sequence[str], *messages: Message) -> MessageForm | None:
        for form in forms:
            self.renderer = replace(self.renderer, form=form)
            if self._shows(words, *messages):
                return form
        return None

    def _writes_calls(self) -> bool:
        """Return whether a call comes out once, and neither as a Python dictionary nor encoded twice."""
        text = self._text(USER_TURN, CALL_TURN, tools=TOOLS)
        if text is None or QUESTION not in text or text.count(VALUE) != 1:
            return False
        # Only the turn itself: the schemas before it may contain any of these texts.
        turn = text[text.rindex(QUESTION) :]
        return "qxfind" in turn and not any(wrong in turn for wrong in ("None", "{'place':", '\\"place\\"'))

    def _features(self) -> Iterator[Feature]:
        if self._shows((SYSTEM, QUESTION), SYSTEM_TURN, USER_TURN, prompt=True):
            yield "system message"
        if self._shows(("qxfind", "qxbook", "place"), USER_TURN, tools=TOOLS, prompt=True):
            yield "tool schemas"
        if self._writes_calls():
            yield "tool calls"
            if self._shows((VALUE, OTHER_VALUE), USER_TURN, PARALLEL_CALLS_TURN, tools=TOOLS):
                yield "several calls in a turn"
            if self._shows((ANSWER, VALUE), USER_TURN, CALL_WITH_TEXT_TURN, tools=TOOLS):
                yield "content with a call"
        if self._shows((RESULT,), USER_TURN, CALL_TURN, RESULT_TURN, tools=TOOLS, prompt=True):
            yield "tool results"
        if self._shows((REASONING,), USER_TURN, REASONING_TURN):
            yield "reasoning"

    def _text_stop(self) -> Stop | None:
        final, history = self._text(USER_TURN, TEXT_TURN), self._text(USER_TURN, TEXT_TURN, USER_TURN)
        if self.added is None:
            return None
        return find_text_stop(_after(ANSWER, final), _after(ANSWER, history), self.added)

    def _call_stop(self, text_stop: Stop | None) -> Stop | None:
        final = self._text(USER_TURN, CALL_TURN, tools=TOOLS)
        history = self._text(USER_TURN, CALL_TURN, RESULT_TURN, tools=TOOLS)
        if self.added is None:
            return None
        return find_call_stop(_after(VALUE, final), _after(VALUE, history), self.added, text_stop=text_stop)

    def _header(self) -> tuple[AnswerHeader, str]:
        """Return what comes before an answer, and why it cannot be trained ("" if it can)."""
        before, prompt = self._text(USER_TURN) or "", self._text(USER_TURN, prompt=True) or ""
        final = self._text(USER_TURN, TEXT_TURN) or ""
        start = shared_length(before, prompt)
        for match in self.added.finditer(prompt) if self.added else ():
            # Two texts may start to differ in the middle of a token.
            start = match.start() if match.start() < start < match.end() else start
        if final.startswith(prompt):
            return AnswerHeader(prompt[start:], "", final[len(prompt) :].partition(ANSWER)[0]), ""
        shared = shared_length(prompt, final)
        header = AnswerHeader(prompt[start:], prompt[shared:], "")
        if final.startswith(ANSWER, shared) and not _leaves_open(header.unwritten):
            return header, ""
        return header, (
            f"its generation prompt ends with {header.unwritten!r}, which it does not write before an "
            "assistant message, so no training text continues the serving prompt"
        )

    def _is_stable(self, text_stop: Stop | None, call_stop: Stop | None) -> bool:
        """Return whether a longer conversation still starts with the text up to each of its turns."""
        rounds: list[tuple[Message, Stop, Sequence[Tool]]] = []
        if text_stop is not None:
            rounds.append((TEXT_TURN, text_stop, ()))
        if call_stop is not None:
            rounds.append((CALL_TURN, call_stop, TOOLS))
        for turn, stop, tools in rounds:
            following = [RESULT_TURN, TEXT_TURN, USER_TURN] if turn is CALL_TURN else [USER_TURN, TEXT_TURN, USER_TURN]
            whole = self._text(USER_TURN, turn, *following, tools=tools)
            final = self._text(USER_TURN, turn, tools=tools)
            prompt = self._text(USER_TURN, tools=tools, prompt=True)
            if whole is None or final is None or prompt is None:
                return False
            end = final.removesuffix(stop.after) + (stop.token if stop.opens_next else "")
            if not (whole.startswith(prompt) and whole.startswith(end)):
                return False
        return True

    def _plain_problem(self) -> str:
        """Return why not even a question and its answer come out ("" if they do)."""
        try:
            text = self.renderer((USER_TURN, TEXT_TURN), (), add_generation_prompt=False)
        except RenderError as error:
            return f"it rejects a user message with an assistant message: {error}"
        return "" if QUESTION in text and ANSWER in text else "it drops the text of user or assistant messages"

    def _date_problem(self) -> str:
        if not self.dates:
            return ""
        name = next((name for name in self.source.template_kwargs if "date" in name), None)
        remedy = f"; set {name} in data.chat_template_kwargs, and send the same when serving" if name else ""
        return f"it writes the current date, so serving prompts will differ from those of the training{remedy}"

    def _stop_problem(self, text_stop: Stop | None, call_stop: Stop | None, renders: frozenset[Feature]) -> str:
        if text_stop is not None and (call_stop is not None or "tool calls" not in renders):
            return ""
        return "no special token of the tokenizer ends an assistant turn, so the model would not learn to stop"


def _after(word: str, text: str | None) -> str:
    """Return the text after the last occurrence of a word."""
    return text[text.rindex(word) + len(word) :] if text and word in text else ""


def _leaves_open(text: str) -> bool:
    """Return whether the text leaves a `<tag>` or `<|tag>` open, so the answer would be inside it."""
    opened = re.findall(r"<\|?(\w+)>", text)
    closed = [first or second for first, second in re.findall(r"</(\w+)>|<(\w+)\|>", text)]
    return any(opened.count(name) > closed.count(name) for name in opened)
