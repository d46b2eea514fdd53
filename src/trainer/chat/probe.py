"""Find out, once per tokenizer, how its chat template behaves, by rendering small conversations.

Every probe writes unmistakable words and looks where they come out. Knows no data and no model family.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from os.path import commonprefix
from typing import Any, Literal

from trainer.chat.profile import Feature, Stop, TemplateProfile
from trainer.chat.render import MessageForm, Renderer, RenderError, Tokenizer, added_token_pattern
from trainer.chat.source import TemplateSource
from trainer.types import Message, Tool, ToolCallJson

SYSTEM, ASK, ANSWER, ASK_AGAIN = "qxsystem", "qxask", "qxanswer", "qxagain"
VALUE, OTHER_VALUE, RESULT, OTHER_RESULT = "qxvalue", "qxother", "qxresult", "qxsecond"
REASONING = "qxreason"
REASONING_KEYS = ("reasoning_content", "reasoning", "thinking")


def _tool(name: str) -> Tool:
    schema = {"type": "object", "properties": {"place": {"type": "string", "description": "qxplace"}}}
    return {"type": "function", "function": {"name": name, "description": "qxtool", "parameters": schema}}


def _call(name: str, value: str, call_id: str) -> ToolCallJson:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": {"place": value}}}


TOOLS = (_tool("qxfind"), _tool("qxbook"))
FIND, BOOK = _call("qxfind", VALUE, "qxcallid1"), _call("qxbook", OTHER_VALUE, "qxcallid2")
USER: Message = {"role": "user", "content": ASK}
TALK: Message = {"role": "assistant", "content": ANSWER}
CALL: Message = {"role": "assistant", "content": "", "tool_calls": [FIND]}
CALLS: Message = {"role": "assistant", "content": "", "tool_calls": [FIND, BOOK]}
CALL_WITH_TEXT: Message = {"role": "assistant", "content": ANSWER, "tool_calls": [FIND]}
FOUND: Message = {"role": "tool", "content": RESULT, "tool_call_id": "qxcallid1"}
BOOKED: Message = {"role": "tool", "content": OTHER_RESULT, "tool_call_id": "qxcallid2"}
USER_AGAIN: Message = {"role": "user", "content": ASK_AGAIN}


class Probe:
    """One template under examination."""

    def __init__(self, tokenizer: Tokenizer, source: TemplateSource, switches: Mapping[str, Any]) -> None:
        self.source = source
        self.clock_was_read = False
        self.added = added_token_pattern(tokenizer.get_added_vocab())
        self.ids = tokenizer.get_added_vocab()
        self.renderer = Renderer(tokenizer, dict(switches))

    def run(self) -> TemplateProfile:
        """Return the profile; what cannot be trained at all is its `refusal`."""
        self.renderer = replace(self.renderer, form=self._form())
        renders = frozenset(self._features())
        talk = self._stop(USER, TALK, USER_AGAIN, ANSWER)
        call = self._stop(USER, CALL, FOUND, VALUE, prefer=talk) if "tool calls" in renders else None
        prompt, header, generation_only = self._headers()
        return TemplateProfile(
            form=self.renderer.form,
            renders=renders,
            stop_talk=talk,
            stop_call=call,
            generation_prompt=prompt,
            generation_only=generation_only,
            switches=self.source.switches,
            stable=self._is_stable(renders),
            causal=False,
            refusal=self._refusal(talk, call, renders, header, generation_only),
        )

    def text(self, *messages: Message, tools: Sequence[Tool] = (), prompt: bool = False) -> str | None:
        """The rendered probe, or None where the template refuses it."""
        try:
            return self.renderer(messages, tools, add_generation_prompt=prompt)
        except RenderError:
            return None

    def _shows(
        self, needles: Sequence[str], *messages: Message, prompt: bool = False, tools: Any = TOOLS
    ) -> bool:
        text = self.text(*messages, tools=tools, prompt=prompt)
        return text is not None and all(needle in text for needle in needles)

    def _form(self) -> MessageForm:
        """The first message form, in the order that servers prefer, in which text and calls come out right."""
        for parts in (False, True):
            self.renderer = replace(self.renderer, form=MessageForm(parts=parts))
            if self._shows([ASK, ANSWER], USER, TALK, tools=()):
                break
        else:
            return MessageForm()
        basic = self.renderer.form
        for arguments in ("object", "string"):
            for blank in ("", "null", "missing"):
                form = replace(basic, arguments=arguments, blank=blank)  # type: ignore[arg-type]
                self.renderer = replace(self.renderer, form=form)
                if self._calls_come_out_right():
                    return self._with_reasoning(form)
        return self._with_reasoning(basic)

    def _calls_come_out_right(self) -> bool:
        text = self.text(USER, CALL, tools=TOOLS)
        if text is None or text.count(VALUE) != 1:
            return False
        # Only the turn itself: schemas in the prompt may hold any of these texts.
        turn = text[text.rindex(ASK) :]
        wrong = ("None", "{'place':", '\\"place\\"', "{\\'place")
        return "qxfind" in turn and not any(mark in turn for mark in wrong)

    def _with_reasoning(self, form: MessageForm) -> MessageForm:
        thought: Message = {**TALK, "reasoning_content": REASONING}
        for key in REASONING_KEYS:
            self.renderer = replace(self.renderer, form=replace(form, reasoning_key=key))
            if self._shows([REASONING, ANSWER], USER, thought, tools=()):
                return self.renderer.form
        return form

    def _features(self) -> Iterator[Feature]:
        system: Message = {"role": "system", "content": SYSTEM}
        if self._shows([SYSTEM, ASK], system, USER, prompt=True, tools=()):
            yield "system message"
        if self._shows(["qxfind", "qxbook", "place"], USER, prompt=True):
            yield "tool schemas"
        if self._calls_come_out_right():
            yield "tool calls"
            if self._shows([VALUE, OTHER_VALUE], USER, CALLS):
                yield "several calls in a turn"
            if self._shows([ANSWER, VALUE], USER, CALL_WITH_TEXT):
                yield "content beside a call"
            if self._shows([RESULT], USER, CALL, FOUND, prompt=True):
                yield "tool results"
        if self._shows([REASONING], USER, {**TALK, "reasoning_content": REASONING}, tools=()):
            yield "reasoning"

    def _stop(
        self, ask: Message, turn: Message, following: Message, word: str, *, prefer: Stop | None = None
    ) -> Stop | None:
        """Find the token that ends a turn: what follows its last word, at the end and in history alike."""
        tools = TOOLS if turn.get("tool_calls") else ()
        final = self.text(ask, turn, tools=tools)
        if final is None or word not in final:
            return None
        final = final[final.rindex(word) + len(word) :]
        history = self.text(ask, turn, following, tools=tools) or ""
        history = history[history.rindex(word) + len(word) :] if word in history else ""
        shared = len(commonprefix([final, history]))
        ends = list(self.added.finditer(final)) if self.added else []
        in_both = [match for match in ends if match.end() <= shared]
        preferred = [match for match in in_both if prefer and match.group() == prefer.token]
        if turn.get("tool_calls"):
            # The text of a call may itself close with special tokens, so the turn's end is the last one.
            chosen = preferred[:1] or ends[-1:]
        else:
            chosen = in_both[-1:] or ends[:1]
        if chosen:
            token = chosen[0].group()
            return Stop(token, self.ids[token], after=final[chosen[0].end() :])
        following_token = self.added.search(history) if self.added else None
        if following_token and history[: following_token.start()] == final:
            return Stop(following_token.group(), self.ids[following_token.group()], opens_next=True)
        return None

    def _headers(self) -> tuple[str, Literal[True, False], str]:
        """The generation prompt; whether the turn continues it; what of it the written turn leaves out."""
        before, prompt = self.text(USER) or "", self.text(USER, prompt=True) or ""
        added = prompt[len(commonprefix([before, prompt])) :]
        final = self.text(USER, TALK) or ""
        if not prompt or final.startswith(prompt):
            return added, bool(prompt), ""
        shared = len(commonprefix([prompt, final]))
        only = prompt[shared:]
        return added, final.startswith(ANSWER, shared) and not _leaves_open(only), only

    def _is_stable(self, renders: frozenset[Feature]) -> bool:
        conversation: list[Message] = [USER, TALK, USER_AGAIN]
        tools: Sequence[Tool] = ()
        if "tool calls" in renders and "tool results" in renders:
            tools = TOOLS
            conversation += [CALL, FOUND, TALK, USER]
        whole = self.text(*conversation, tools=tools)
        for turn, message in enumerate(conversation):
            if message["role"] == "assistant":
                final = self.text(*conversation[: turn + 1], tools=tools)
                prompt = self.text(*conversation[:turn], tools=tools, prompt=True)
                stop = self._stop_in(message, final)
                if whole is None or prompt is None or stop is None:
                    return False
                if not whole.startswith(prompt) or not whole.startswith(stop):
                    return False
        return True

    def _stop_in(self, message: Message, final: str | None) -> str | None:
        """The final text cut behind its last stop token."""
        stop = self._stop(
            USER, message, FOUND if message.get("tool_calls") else USER_AGAIN, _last_word(message)
        )
        if final is None or stop is None:
            return None
        return final.removesuffix(stop.after) + (stop.token if stop.opens_next else "")

    def _refusal(
        self, talk: Stop | None, call: Stop | None, renders: frozenset[Feature], header: bool, only: str
    ) -> str | None:
        if not self._shows([ASK, ANSWER], USER, TALK, tools=()):
            return "it does not render a user message and an assistant message"
        if self.source.reads_clock(self.renderer):
            return _clock_refusal(self.source.switches)
        if not header:
            return (
                f"its generation prompt ends with {only!r}, which it does not write before an assistant's "
                "message, so no training text continues the serving prompt"
            )
        if talk is None or ("tool calls" in renders and call is None):
            return "no special token of the tokenizer ends an assistant turn, so the model could never learn to stop"
        return None


def _last_word(message: Message) -> str:
    return VALUE if message.get("tool_calls") else ANSWER


def _clock_refusal(switches: Sequence[str]) -> str:
    dates = [name for name in switches if "date" in name]
    remedy = f"; set {dates[0]} in data.chat_template_kwargs, and send the same when serving" if dates else ""
    return f"it writes the current date, so training prompts would differ from tomorrow's serving prompts{remedy}"


def _leaves_open(text: str) -> bool:
    """Whether a `<tag>` or `<|tag>` of the text is not closed in it: the answer would be written inside it."""
    opened = re.findall(r"<\|?(\w+)>", text)
    closed = re.findall(r"</(\w+)>|<(\w+)\|>", text)
    names = [first or second for first, second in closed]
    return any(opened.count(name) > names.count(name) for name in opened)

