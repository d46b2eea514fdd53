"""From conversations to rows of tokens in which every supervised span is proven.

Knows no file, no dataset and no model: a tokenizer, its template, and conversations.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from jinja2 import TemplateSyntaxError

from trainer.chat.canonical import canonical_messages
from trainer.chat.probe import Probe
from trainer.chat.profile import TemplateProfile
from trainer.chat.proof import Span, Tokens
from trainer.chat.render import Renderer, RenderError, Tokenizer
from trainer.chat.rows import EncodedRow, EncodedSession
from trainer.chat.single_render import find_tails
from trainer.chat.source import TemplateSource
from trainer.chat.tokenized_text import TokenizedText, literal_tokens
from trainer.chat.turn_texts import TurnReader, TurnText
from trainer.errors import DataError, TemplateError
from trainer.types import Message, Session, Tool


class ChatEncoder:
    """A tokenizer and its chat template, examined once, then used on many conversations.

    `template_kwargs` are the template's switches; None means `enable_thinking=False` where the template
    takes it, and nothing else.

    Raises:
        TemplateError: the tokenizer has no chat template.
    """

    def __init__(self, tokenizer: Any, *, template_kwargs: Mapping[str, Any] | None = None) -> None:
        self._tokenizer: Tokenizer = tokenizer
        source = _source(tokenizer)
        if template_kwargs is None:
            template_kwargs = {"enable_thinking": False} if "enable_thinking" in source.switches else {}
        self.template_kwargs: dict[str, Any] = dict(template_kwargs)
        probed = Probe(tokenizer, source, self.template_kwargs).run()
        self._renderer = Renderer(tokenizer, self.template_kwargs, probed.form)
        tails = find_tails(self._renderer, source)
        self.profile: TemplateProfile = replace(probed, causal=tails is not None)
        self._reader = TurnReader(self._renderer, self.profile, tails)
        self._tokens = Tokens(tokenizer)
        added = self._tokenizer.added_tokens_decoder
        self._special = tuple(token.content for token in added.values() if token.special)

    @property
    def stop_token_ids(self) -> tuple[int, ...]:
        """Ids of the tokens that end an assistant turn."""
        return self.profile.stop_token_ids

    def render(self, messages: Sequence[Message], tools: Sequence[Tool], *, add_generation_prompt: bool) -> str:
        """Text of a conversation, canonical and with the switches set, as a server renders it."""
        try:
            return self._renderer(canonical_messages(messages), tools, add_generation_prompt=add_generation_prompt)
        except RenderError as error:
            raise TemplateError(f"the chat template refuses the conversation: {error}") from error

    def prompt_ids(self, messages: Sequence[Message], tools: Sequence[Tool]) -> list[int]:
        """Tokens of the serving prompt of the next assistant turn."""
        return self._tokens.ids(self.render(messages, tools, add_generation_prompt=True))

    def decode(self, ids: Sequence[int]) -> str:
        """Text of tokens, special tokens written out."""
        return self._tokens.decode(ids)

    def turn_texts(self, messages: Sequence[Message], tools: Sequence[Tool]) -> list[TurnText]:
        """Serving prompt and target of each trained turn, as text. Raises `DataError` or `TemplateError`."""
        return self._reader.read(canonical_messages(messages), tools)

    def encode(self, messages: Sequence[Message], tools: Sequence[Tool], *, session_id: str) -> EncodedSession:
        """Return the fewest rows in which every trained turn follows exactly its serving prompt.

        Raises:
            DataError: a message is malformed.
            TemplateError: the template drops what the data holds, or a turn cannot be proven.
        """
        (encoded,) = self.encode_batch([Session(session_id, tuple(messages), tuple(tools))])
        if isinstance(encoded, EncodedSession):
            return encoded
        raise encoded

    def encode_batch(self, sessions: Iterable[Session]) -> list[EncodedSession | DataError | TemplateError]:
        """Encode many sessions with few tokenizer calls; a refused session yields its error in its place."""
        drafts = [self._draft(session) for session in sessions]
        open_drafts = [draft for draft in drafts if draft.pending]
        while open_drafts:
            tokenized = self._tokens.batch([draft.pending[-1].whole for draft in open_drafts])
            for draft, row in zip(open_drafts, tokenized, strict=True):
                try:
                    self._add_row(draft, row)
                except TemplateError as error:
                    draft.error = _located(error, draft.session_id)
            open_drafts = [draft for draft in open_drafts if draft.pending and draft.error is None]
        return [draft.result() for draft in drafts]

    def _draft(self, session: Session) -> "_Draft":
        draft = _Draft(session.session_id)
        try:
            messages = canonical_messages(session.messages)
            draft.pending = self._reader.read(messages, session.tools)
            texts = [message.get("content") or "" for message in messages]
            draft.literal_specials = literal_tokens(texts, self._special)
        except (DataError, TemplateError) as error:
            draft.error = _located(error, session.session_id)
        return draft

    def _add_row(self, draft: "_Draft", row: TokenizedText) -> None:
        """Make the row of the last pending turn, with every earlier pending turn that is exact in it."""
        *earlier, last = draft.pending
        span = self._tokens.prove(last, row)
        if span is not None:
            ids, n_shared = row.ids, span.end
        else:
            prompt, target, n_shared = self._tokens.apart(last, row)
            ids = prompt + target
            span = Span(last.turn, len(prompt), len(ids))
        spans, left = [span], []
        for turn in earlier:
            found = self._find_exact(turn, row, ids, n_shared=n_shared) if turn.begins(row.text) else None
            if found is None:
                left.append(turn)
            else:
                spans.append(found)
        draft.rows.append(EncodedRow(ids[: span.end], tuple(sorted(spans, key=lambda span: span.start))))
        draft.pending = left

    def _find_exact(self, turn: TurnText, row: TokenizedText, ids: list[int], *, n_shared: int) -> Span | None:
        """The span of an earlier turn in the final tokens of a row, of which the first `n_shared` are the row's."""
        span = self._tokens.prove(turn, row)
        if span is not None and span.end <= n_shared:
            return span
        prompt, target, _ = self._tokens.apart(turn, row)
        whole = prompt + target
        return Span(turn.turn, len(prompt), len(whole)) if ids[: len(whole)] == whole else None


@dataclass(slots=True)
class _Draft:
    """A session on its way into rows."""

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
