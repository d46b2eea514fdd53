"""Encode conversations as rows of tokens in which every supervised span is proven.

Needs a tokenizer with its template, and conversations: no file, no dataset and no model.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from jinja2 import TemplateSyntaxError

from trainer.chat.probe import Probe
from trainer.chat.profile import TemplateProfile
from trainer.chat.proof import Span, SpanProver
from trainer.chat.render import Renderer, RenderError, Tokenizer
from trainer.chat.rows import EncodedRow, EncodedSession
from trainer.chat.single_render import find_suffixes
from trainer.chat.source import TemplateSource
from trainer.chat.tokenized_text import TokenizedText, literal_tokens
from trainer.chat.turn_texts import TurnReader, TurnText
from trainer.errors import DataError, TemplateError
from trainer.messages.canonical import canonical_messages
from trainer.types import Message, Session, Tool


class ChatEncoder:
    """A tokenizer and its chat template, probed once and then used for many conversations.

    `template_kwargs` go to the chat template as keyword arguments. None means `enable_thinking=False` if the
    template takes it, and nothing else.

    Raises:
        TemplateError: the tokenizer has no chat template.
    """

    def __init__(self, tokenizer: Any, *, template_kwargs: Mapping[str, Any] | None = None) -> None:
        self._tokenizer: Tokenizer = tokenizer
        source = _source(tokenizer)
        if template_kwargs is None:
            template_kwargs = {"enable_thinking": False} if "enable_thinking" in source.template_kwargs else {}
        self.template_kwargs: dict[str, Any] = dict(template_kwargs)
        probed = Probe(tokenizer, source, self.template_kwargs).run()
        self._renderer = Renderer(tokenizer, self.template_kwargs, probed.form)
        suffixes = find_suffixes(self._renderer, source)
        self.profile: TemplateProfile = replace(probed, preserves_prefixes=suffixes is not None)
        self._reader = TurnReader(self._renderer, self.profile, suffixes)
        self._prover = SpanProver(tokenizer)
        added = self._tokenizer.added_tokens_decoder
        self._special = tuple(token.content for token in added.values() if token.special)

    @property
    def stop_token_ids(self) -> tuple[int, ...]:
        """The ids of the tokens that end an assistant turn."""
        return self.profile.stop_token_ids

    def render(self, messages: Sequence[Message], tools: Sequence[Tool], *, add_generation_prompt: bool) -> str:
        """Return the text of a conversation as a server renders it, with the template arguments set."""
        try:
            return self._renderer(canonical_messages(messages), tools, add_generation_prompt=add_generation_prompt)
        except RenderError as error:
            raise TemplateError(f"the chat template rejects the conversation: {error}") from error

    def prompt_ids(self, messages: Sequence[Message], tools: Sequence[Tool]) -> list[int]:
        """Return the tokens of the serving prompt of the next assistant turn."""
        return self._prover.ids(self.render(messages, tools, add_generation_prompt=True))

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of tokens, including special tokens."""
        return self._prover.decode(ids)

    def turn_texts(self, messages: Sequence[Message], tools: Sequence[Tool]) -> list[TurnText]:
        """Return the serving prompt and target text of each trained turn. Raises `DataError` or `TemplateError`."""
        return self._reader.read(canonical_messages(messages), tools)

    def encode(self, messages: Sequence[Message], tools: Sequence[Tool], *, session_id: str) -> EncodedSession:
        """Return the fewest rows in which every trained turn directly follows its exact serving prompt.

        Raises:
            DataError: a message is malformed.
            TemplateError: the template drops part of the data, or a turn cannot be proven.
        """
        (encoded,) = self.encode_batch([Session(session_id, tuple(messages), tuple(tools))])
        if isinstance(encoded, EncodedSession):
            return encoded
        raise encoded

    def encode_batch(self, sessions: Iterable[Session]) -> list[EncodedSession | DataError | TemplateError]:
        """Encode many sessions with few tokenizer calls. The entry of a refused session is its error."""
        started = [self._start(session) for session in sessions]
        unfinished = [session for session in started if session.pending]
        while unfinished:
            tokenized = self._prover.batch([session.pending[-1].whole for session in unfinished])
            for session, row in zip(unfinished, tokenized, strict=True):
                try:
                    self._add_row(session, row)
                except TemplateError as error:
                    session.error = _located(error, session.session_id)
            unfinished = [session for session in unfinished if session.pending and session.error is None]
        return [session.result() for session in started]

    def _start(self, session: Session) -> "_SessionInProgress":
        started = _SessionInProgress(session.session_id)
        try:
            messages = canonical_messages(session.messages)
            started.pending = self._reader.read(messages, session.tools)
            texts = [message.get("content") or "" for message in messages]
            started.literal_specials = literal_tokens(texts, self._special)
        except (DataError, TemplateError) as error:
            started.error = _located(error, session.session_id)
        return started

    def _add_row(self, session: "_SessionInProgress", row: TokenizedText) -> None:
        """Add the row of the last pending turn, with every earlier pending turn that is exact in it."""
        *earlier, last = session.pending
        span = self._prover.prove(last, row)
        if span is not None:
            ids, n_shared = row.ids, span.end
        else:
            prompt, target, n_shared = self._prover.tokenize_apart(last, row)
            ids = prompt + target
            span = Span(last.turn, len(prompt), len(ids))
        spans, left = [span], []
        for turn in earlier:
            found = self._find_exact(turn, row, ids, n_shared=n_shared) if turn.begins(row.text) else None
            if found is None:
                left.append(turn)
            else:
                spans.append(found)
        session.rows.append(EncodedRow(ids[: span.end], tuple(sorted(spans, key=lambda span: span.start))))
        session.pending = left

    def _find_exact(self, turn: TurnText, row: TokenizedText, ids: list[int], *, n_shared: int) -> Span | None:
        """Return the span of an earlier turn in `ids`, whose first `n_shared` tokens are also those of `row`."""
        span = self._prover.prove(turn, row)
        if span is not None and span.end <= n_shared:
            return span
        prompt, target, _ = self._prover.tokenize_apart(turn, row)
        whole = prompt + target
        return Span(turn.turn, len(prompt), len(whole)) if ids[: len(whole)] == whole else None


@dataclass(slots=True)
class _SessionInProgress:
    """A session that is being encoded. `pending` are the turns that no row covers yet."""

    session_id: str
    pending: list[TurnText]
    rows: list[EncodedRow]
    literal_specials: tuple[tuple[int, str], ...]
    error: DataError | TemplateError | None

    def __init__(self, session_id: str) -> None:
        self.session_id = session_id
        self.pending, self.rows, self.literal_specials, self.error = [], [], (), None

    def result(self) -> EncodedSession | DataError | TemplateError:
        if self.error is not None:
            return self.error
        rows = tuple(sorted(self.rows, key=lambda row: row.spans[-1].turn))
        return EncodedSession(self.session_id, rows, self.literal_specials)


def _source(tokenizer: Tokenizer) -> TemplateSource:
    try:
        return TemplateSource(tokenizer)
    except TemplateSyntaxError as error:
        raise TemplateError(f"the chat template cannot be parsed: line {error.lineno}: {error.message}") from error
    except ValueError as error:
        raise TemplateError(
            f"the tokenizer {tokenizer.name_or_path!r} has no chat template; set model.chat_template_path"
        ) from error


def _located(error: DataError | TemplateError, session_id: str) -> DataError | TemplateError:
    separator = ", " if str(error).startswith("turn ") else ": "
    return type(error)(f"session {session_id}{separator}{error}")
