"""Find out how a chat template behaves, by rendering small conversations once.

Every probe writes words that occur nowhere else and looks where they come out. What fails is asked again with a
system message, with tools and with reasoning, because some templates need one of them. Uses no data, and has no
knowledge of particular model families.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import product
from typing import NamedTuple

from trainer.chat.profile import AnswerHeader, Feature, TemplateProfile, TurnKind
from trainer.chat.template.probe_messages import (
    ANSWER,
    CALL_TURN,
    CALL_WITH_TEXT_TURN,
    OTHER_VALUE,
    PARALLEL_CALLS_TURN,
    QUESTION,
    REASONING,
    RESULT,
    RESULT_TURN,
    SYSTEM,
    SYSTEM_TURN,
    TEXT_TURN,
    TOOLS,
    USER_TURN,
    VALUE,
)
from trainer.chat.template.render import Renderer, RenderError
from trainer.chat.template.server_shape import ContentFormat, detected_format
from trainer.chat.template.source import TemplateSource
from trainer.chat.template.stops import Stop, StopFinder, TurnEnding, shared_length
from trainer.chat.template.thinking import last_marker, leaves_open
from trainer.types import Message, Tool


class Context(NamedTuple):
    """What a probe has besides its own messages: a system message, tools, or reasoning in its answers."""

    system: bool = False
    tools: bool = False
    reasoning: bool = False


CONTEXTS = tuple(sorted((Context(*flags) for flags in product((False, True), repeat=3)), key=sum))


class Probe:
    """The probing of one template."""

    def __init__(self, renderer: Renderer, source: TemplateSource, *, eos: Collection[str]) -> None:
        self.source, self.renderer = source, renderer
        self.tokenizer = renderer.tokenizer
        self.finder = StopFinder(self.tokenizer, eos=eos)
        given = set(renderer.template_kwargs) - {"strftime_now"}
        self.ignored = tuple(sorted(given - set(source.template_kwargs)))

    def run(self) -> TemplateProfile:
        """Return the profile. If nothing can be trained with the template, its `refusal` says why."""
        self.renderer = replace(self.renderer, content_format=self._content_format())
        renders = frozenset(self._features())
        self.finder = self.finder.with_openers(before=self._before_first_message(), between=self._between_messages())
        text_stop = self._text_stop()
        call_stop = self._call_stop(text_stop) if "tool calls" in renders else None
        tokens = [stop.token for stop in (text_stop, call_stop) if stop]
        stops = {token: self.tokenizer.convert_tokens_to_ids(token) for token in tokens}
        return TemplateProfile(
            content_format=self.renderer.content_format,
            dates=self.renderer.dates,
            renders=renders,
            text_stop=text_stop,
            call_stop=call_stop,
            stops=stops,
            headers=tuple(self.headers.values()),
            template_kwargs=self.source.template_kwargs,
            ignored_kwargs=self.ignored,
            settled=frozenset(self._settled(text_stop, call_stop)),
            reasoning_markers=self._reasoning_markers(),
            refusal=self._plain_problem() or self._stop_problem(stops),
        )

    def _text(self, context: Context, *messages: Message, prompt: bool = False) -> str | None:
        """Return the rendered probe, or None if the template rejects it."""
        before = (SYSTEM_TURN,) if context.system else ()
        tools: Sequence[Tool] = TOOLS if context.tools else ()
        shown = [_with_reasoning(message) if context.reasoning else message for message in messages]
        try:
            return self.renderer((*before, *shown), tools, add_generation_prompt=prompt)
        except RenderError:
            return None

    def _first(
        self, accepts: Callable[[str], bool], *messages: Message, prompt: bool = False, **needed: bool
    ) -> Context | None:
        """Return the plainest context in which the text of a probe is accepted."""
        for context in CONTEXTS:
            if all(getattr(context, name) == value for name, value in needed.items()):
                text = self._text(context, *messages, prompt=prompt)
                if text is not None and accepts(text):
                    return context
        return None

    def _shows(self, *parts: str) -> Callable[[str], bool]:
        return lambda text: all(part in text for part in parts)

    def _content_format(self) -> ContentFormat:
        """Return the format that a server detects, or the other one if only that gives the text of messages."""
        detected = detected_format(self.source.tree)
        formats: tuple[ContentFormat, ...] = (detected, "string" if detected == "openai" else "openai")
        for candidate in formats:
            self.renderer = replace(self.renderer, content_format=candidate)
            if self._first(_shows_plain_text, USER_TURN, TEXT_TURN):
                return candidate
        return detected

    @cached_property
    def headers(self) -> dict[Context, AnswerHeader]:
        """The generation prompts of the contexts in which an answer continues its serving prompt."""
        found = {context: self._header(context) for context in CONTEXTS}
        return {context: header for context, header in found.items() if header is not None}

    @property
    def _plain(self) -> Context:
        """The plainest context in which a question and its answer can be trained, or at least come out."""
        return next(iter(self.headers), self._first(_shows_plain_text, USER_TURN, TEXT_TURN) or Context())

    @cached_property
    def _calling(self) -> Context:
        """The plainest context in which a turn with a call comes out."""
        order = sorted(CONTEXTS, key=lambda context: (context not in self.headers, not context.tools, sum(context)))
        for context in order:
            if self._writes_calls(context):
                return context
        return Context(tools=True)

    def _writes_calls(self, context: Context) -> bool:
        """Return whether the name and arguments of a call come out, not as a Python object and not encoded twice."""
        text = self._text(context, USER_TURN, CALL_TURN)
        if text is None or VALUE not in text or text.count(QUESTION) < 1:
            return False
        # Only the turn itself: the schemas before it may contain any of these texts.
        turn = text[text.rindex(QUESTION) :]
        return "qxfind" in turn and not any(wrong in turn for wrong in ("None", "{'place':", '\\"place\\"'))

    def _features(self) -> Iterator[Feature]:
        if self._first(self._shows(SYSTEM, QUESTION), USER_TURN, prompt=True, system=True):
            yield "system message"
        if self._first(self._shows("qxfind", "qxbook", "place"), USER_TURN, prompt=True, tools=True):
            yield "tool schemas"
        if self._writes_calls(self._calling):
            yield "tool calls"
            if self._first(self._shows(VALUE, OTHER_VALUE), USER_TURN, PARALLEL_CALLS_TURN):
                yield "several calls in a turn"
            if self._first(self._shows(ANSWER, VALUE), USER_TURN, CALL_WITH_TEXT_TURN):
                yield "content with a call"
        if self._first(self._shows(RESULT), USER_TURN, CALL_TURN, RESULT_TURN, prompt=True):
            yield "tool results"
        if self._first(self._shows(REASONING), USER_TURN, TEXT_TURN, reasoning=True):
            yield "reasoning"

    def _before_first_message(self) -> str:
        """Return what comes before the text of the first message."""
        context = self._first(self._shows(SYSTEM), USER_TURN, system=True)
        text = self._text(context or self._plain, USER_TURN) or ""
        return text.partition(SYSTEM if context else QUESTION)[0]

    def _between_messages(self) -> str:
        """Return what comes between the text of a question and that of its answer."""
        text = self._text(self._plain, USER_TURN, TEXT_TURN) or ""
        return text.rpartition(QUESTION)[2].partition(ANSWER)[0]

    def _always_prompts(self, context: Context, *messages: Message) -> bool:
        return self._text(context, *messages, prompt=True) == self._text(context, *messages)

    def _ending(self, context: Context, word: str, turn: Message, following: Message) -> TurnEnding:
        final, history = self._text(context, USER_TURN, turn), self._text(context, USER_TURN, turn, following)
        return TurnEnding(_after(word, final), _after(word, history), self._always_prompts(context, USER_TURN, turn))

    def _text_stop(self) -> Stop | None:
        return self.finder.text_stop(self._ending(self._plain, ANSWER, TEXT_TURN, USER_TURN))

    def _call_stop(self, text_stop: Stop | None) -> Stop | None:
        return self.finder.call_stop(self._ending(self._calling, VALUE, CALL_TURN, RESULT_TURN), text_stop=text_stop)

    def _header(self, context: Context) -> AnswerHeader | None:
        """Return what comes before an answer, or None if no answer continues its serving prompt."""
        prompt, final = self._text(context, USER_TURN, prompt=True), self._text(context, USER_TURN, TEXT_TURN)
        if prompt is None or final is None or not _shows_plain_text(final):
            return None
        before = self._text(context, USER_TURN) or ""
        start = shared_length(before, prompt)
        for match in self.finder.any.finditer(prompt) if self.finder.any else ():
            # Two texts may start to differ in the middle of a token.
            start = match.start() if match.start() < start < match.end() else start
        if final.startswith(prompt):
            lead = "" if context.reasoning else final[len(prompt) :].partition(ANSWER)[0]
            return AnswerHeader(prompt[start:], "", lead)
        shared = shared_length(prompt, final)
        unwritten = prompt[shared:]
        is_continued = final.startswith(ANSWER, shared) and not leaves_open(unwritten)
        return AnswerHeader(prompt[start:], unwritten, "") if is_continued else None

    def _reasoning_markers(self) -> tuple[str, str] | None:
        """Return the texts around the reasoning of an answer, or None if none is written."""
        context = self._first(self._shows(REASONING, ANSWER), USER_TURN, TEXT_TURN, reasoning=True)
        text = self._text(context, USER_TURN, TEXT_TURN) if context else None
        if text is None or text.index(REASONING) > text.rindex(ANSWER):
            return None
        before, _, rest = text.partition(REASONING)
        # The generation prompt itself may open the block.
        shared = shared_length(self._text(context, USER_TURN, prompt=True) or "", before) if context else 0
        opening = before[shared:].strip() or last_marker(before.rpartition(QUESTION)[2])
        closing = rest.partition(ANSWER)[0].strip()
        return (opening, closing) if opening and closing else None

    def _settled(self, text_stop: Stop | None, call_stop: Stop | None) -> Iterator[TurnKind]:
        """Yield the kinds of turns that are still written in the same way when the conversation goes on."""
        for is_call, stop in ((False, text_stop), (True, call_stop)):
            for reasons in (False, True):
                plain = self._calling if is_call else self._plain
                contexts = [plain._replace(reasoning=reasons), *(c for c in CONTEXTS if c.reasoning == reasons)]
                word = VALUE if is_call else ANSWER
                turn = CALL_TURN if is_call else TEXT_TURN
                usable = (c for c in contexts if word in (self._text(c, USER_TURN, turn) or ""))
                context = next(usable, None)
                if stop is not None and context is not None and self._stays(context, turn, stop):
                    yield is_call, reasons

    def _stays(self, context: Context, turn: Message, stop: Stop) -> bool:
        # The answers after it have no reasoning, as in a conversation of which only some turns reason.
        results = [RESULT_TURN, TEXT_TURN] if turn is CALL_TURN else []
        following = [*results, USER_TURN, TEXT_TURN, USER_TURN]
        whole = self._text(context, USER_TURN, turn, *following)
        final, prompt = self._text(context, USER_TURN, turn), self._text(context, USER_TURN, prompt=True)
        if whole is None or final is None or prompt is None:
            return False
        end = final.removesuffix(stop.after) + (stop.token if stop.opens_next else "")
        return whole.startswith(prompt) and whole.startswith(end)

    def _plain_problem(self) -> str:
        """Return why not even a question and its answer come out ("" if they do)."""
        if self._first(_shows_plain_text, USER_TURN, TEXT_TURN):
            return ""
        try:
            self.renderer((USER_TURN, TEXT_TURN), (), add_generation_prompt=False)
        except RenderError as error:
            return f"it rejects a user message with an assistant message: {error}"
        return "it drops the text of user or assistant messages"

    def _stop_problem(self, stops: dict[str, int]) -> str | None:
        return None if stops else "no special token ends an assistant turn, so the model would not learn to stop"


def _shows_plain_text(text: str) -> bool:
    is_dumped = any(wrong in text for wrong in ("{'type': 'text'", '{"type": "text"'))
    return QUESTION in text and ANSWER in text and not is_dumped


def _with_reasoning(message: Message) -> Message:
    return {**message, "reasoning_content": REASONING} if message["role"] == "assistant" else message


def _after(word: str, text: str | None) -> str:
    """Return the text after the last occurrence of a word."""
    return text[text.rindex(word) + len(word) :] if text and word in text else ""
