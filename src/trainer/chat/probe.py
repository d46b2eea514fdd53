"""Find out, once per tokenizer, how its chat template behaves, by rendering small conversations.

Every probe writes unmistakable words and looks where they come out. Knows no data and no model family.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import Any

from trainer.chat.probe_messages import (
    ANSWER,
    ASK,
    CALL,
    CALL_WITH_TEXT,
    CALLS,
    FOUND,
    INSTRUCT,
    OTHER_VALUE,
    REASONING,
    RESULT,
    SYSTEM,
    TALK,
    THOUGHT,
    TOOLS,
    USER,
    VALUE,
)
from trainer.chat.profile import (
    AnswerHeader,
    Feature,
    Stop,
    TemplateProfile,
    find_call_stop,
    find_talk_stop,
    shared_length,
)
from trainer.chat.render import MessageForm, Renderer, RenderError, Tokenizer, added_token_pattern
from trainer.chat.source import TemplateSource
from trainer.types import Message, Tool

REASONING_KEYS = ("reasoning_content", "reasoning", "thinking")


class Probe:
    """One template under examination."""

    def __init__(self, tokenizer: Tokenizer, source: TemplateSource, switches: Mapping[str, Any]) -> None:
        self.source = source
        self.vocabulary = tokenizer.get_added_vocab()
        self.added = added_token_pattern(self.vocabulary)
        self.dates: list[str] = []
        watched = {"strftime_now": self._watched_date} if source.mentions_clock else {}
        self.renderer = Renderer(tokenizer, {**watched, **switches})
        self.ignored = tuple(sorted(set(switches) - set(source.switches) - {"strftime_now"}))

    def run(self) -> TemplateProfile:
        """Return the profile; what cannot be trained at all is its `refusal`."""
        self.renderer = replace(self.renderer, form=self._form())
        renders = frozenset(self._features())
        talk = self._talk_stop()
        call = self._call_stop(talk) if "tool calls" in renders else None
        header, mismatch = self._header()
        problems = (self._plain_problem(), self._date_problem(), mismatch, self._stop_problem(talk, call, renders))
        return TemplateProfile(
            form=self.renderer.form,
            renders=renders,
            talk_stop=talk,
            call_stop=call,
            stops={stop.token: self.vocabulary[stop.token] for stop in (talk, call) if stop},
            header=header,
            switches=self.source.switches,
            ignored_switches=self.ignored,
            stable=self._is_stable(talk, call),
            refusal=next((problem for problem in problems if problem), None),
        )

    def _text(self, *messages: Message, tools: Sequence[Tool] = (), prompt: bool = False) -> str | None:
        """The rendered probe, or None where the template refuses it."""
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
        """The message form in which text, calls and reasoning come out right; servers prefer the first ones."""
        forms: list[MessageForm] = [MessageForm(), MessageForm(parts=True)]
        form = self._first(forms, (ASK, ANSWER), USER, TALK) or forms[0]
        for arguments, blank in product(("object", "string"), ("", "null", "missing")):
            candidate = replace(form, arguments=arguments, blank=blank)  # type: ignore[arg-type]
            self.renderer = replace(self.renderer, form=candidate)
            if self._writes_calls():
                form = candidate
                break
        forms = [replace(form, reasoning_key=key) for key in REASONING_KEYS]
        return self._first(forms, (REASONING, ANSWER), USER, THOUGHT) or form

    def _first(self, forms: Sequence[MessageForm], words: Sequence[str], *messages: Message) -> MessageForm | None:
        for form in forms:
            self.renderer = replace(self.renderer, form=form)
            if self._shows(words, *messages):
                return form
        return None

    def _writes_calls(self) -> bool:
        """Whether a call comes out once, neither as a Python dictionary nor encoded twice."""
        text = self._text(USER, CALL, tools=TOOLS)
        if text is None or ASK not in text or text.count(VALUE) != 1:
            return False
        # Only the turn itself: schemas before it may hold any of these texts.
        turn = text[text.rindex(ASK) :]
        return "qxfind" in turn and not any(wrong in turn for wrong in ("None", "{'place':", '\\"place\\"'))

    def _features(self) -> Iterator[Feature]:
        if self._shows((SYSTEM, ASK), INSTRUCT, USER, prompt=True):
            yield "system message"
        if self._shows(("qxfind", "qxbook", "place"), USER, tools=TOOLS, prompt=True):
            yield "tool schemas"
        if self._writes_calls():
            yield "tool calls"
            if self._shows((VALUE, OTHER_VALUE), USER, CALLS, tools=TOOLS):
                yield "several calls in a turn"
            if self._shows((ANSWER, VALUE), USER, CALL_WITH_TEXT, tools=TOOLS):
                yield "content beside a call"
        if self._shows((RESULT,), USER, CALL, FOUND, tools=TOOLS, prompt=True):
            yield "tool results"
        if self._shows((REASONING,), USER, THOUGHT):
            yield "reasoning"

    def _talk_stop(self) -> Stop | None:
        final, history = self._text(USER, TALK), self._text(USER, TALK, USER)
        if self.added is None:
            return None
        return find_talk_stop(_behind(ANSWER, final), _behind(ANSWER, history), self.added)

    def _call_stop(self, talk: Stop | None) -> Stop | None:
        final, history = self._text(USER, CALL, tools=TOOLS), self._text(USER, CALL, FOUND, tools=TOOLS)
        if self.added is None:
            return None
        return find_call_stop(_behind(VALUE, final), _behind(VALUE, history), self.added, talk=talk)

    def _header(self) -> tuple[AnswerHeader, str]:
        """What stands before an answer, and why that cannot be trained, if it cannot."""
        before, prompt = self._text(USER) or "", self._text(USER, prompt=True) or ""
        final = self._text(USER, TALK) or ""
        start = shared_length(before, prompt)
        for match in self.added.finditer(prompt) if self.added else ():
            # Two texts may part in the middle of a token.
            start = match.start() if match.start() < start < match.end() else start
        if final.startswith(prompt):
            return AnswerHeader(prompt[start:], "", final[len(prompt) :].partition(ANSWER)[0]), ""
        shared = shared_length(prompt, final)
        header = AnswerHeader(prompt[start:], prompt[shared:], "")
        if final.startswith(ANSWER, shared) and not _leaves_open(header.unwritten):
            return header, ""
        return header, (
            f"its generation prompt ends with {header.unwritten!r}, which it does not write before an "
            "assistant's message, so no training text continues the serving prompt"
        )

    def _is_stable(self, talk: Stop | None, call: Stop | None) -> bool:
        """Whether a longer conversation still starts with the text of each of its turns."""
        rounds: list[tuple[Message, Stop, Sequence[Tool]]] = []
        if talk is not None:
            rounds.append((TALK, talk, ()))
        if call is not None:
            rounds.append((CALL, call, TOOLS))
        for turn, stop, tools in rounds:
            following = [FOUND, TALK, USER] if turn is CALL else [USER, TALK, USER]
            whole, final = self._text(USER, turn, *following, tools=tools), self._text(USER, turn, tools=tools)
            prompt = self._text(USER, tools=tools, prompt=True)
            if whole is None or final is None or prompt is None:
                return False
            end = final.removesuffix(stop.after) + (stop.token if stop.opens_next else "")
            if not (whole.startswith(prompt) and whole.startswith(end)):
                return False
        return True

    def _plain_problem(self) -> str:
        """Why not even a question and its answer come out."""
        try:
            text = self.renderer((USER, TALK), (), add_generation_prompt=False)
        except RenderError as error:
            return f"it refuses a user message and an assistant message: {error}"
        return "" if ASK in text and ANSWER in text else "it drops the text of user or assistant messages"

    def _date_problem(self) -> str:
        if not self.dates:
            return ""
        switch = next((name for name in self.source.switches if "date" in name), None)
        remedy = f"; set {switch} in data.chat_template_kwargs, and send the same when serving" if switch else ""
        return f"it writes the current date, so tomorrow's serving prompts differ from those of the training{remedy}"

    def _stop_problem(self, talk: Stop | None, call: Stop | None, renders: frozenset[Feature]) -> str:
        if talk is not None and (call is not None or "tool calls" not in renders):
            return ""
        return "no special token of the tokenizer ends an assistant turn, so the model would not learn to stop"


def _behind(word: str, text: str | None) -> str:
    """The text behind the last occurrence of a word."""
    return text[text.rindex(word) + len(word) :] if text and word in text else ""


def _leaves_open(text: str) -> bool:
    """Whether a `<tag>` or `<|tag>` is not closed in the text: the answer would be written inside it."""
    opened = re.findall(r"<\|?(\w+)>", text)
    closed = [first or second for first, second in re.findall(r"</(\w+)>|<(\w+)\|>", text)]
    return any(opened.count(name) > closed.count(name) for name in opened)
