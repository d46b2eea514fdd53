"""Encode conversations as rows of tokens in which every supervised span is proven.

Needs a tokenizer with its template, and conversations: no file, no dataset and no model.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from trainer.chat.bound_template import BoundTemplate, bind_template, parsed, template_text, with_template
from trainer.chat.profile import TemplateProfile
from trainer.chat.proof import Span, SpanProver
from trainer.chat.refusals import Refused
from trainer.chat.remedies import find_remedy
from trainer.chat.rows import EncodedRow, EncodedSession
from trainer.chat.template.render import RenderError, Tokenizer, forget_json
from trainer.chat.template.server_shape import ContentFormat
from trainer.chat.tokens.token_pieces import TokenPieces
from trainer.chat.tokens.tokenized_text import TokenizedText, literal_tokens
from trainer.chat.turn_texts import TurnText
from trainer.errors import DataError, TemplateError
from trainer.messages.canonical import canonical_messages
from trainer.types import Message, Session, Tool
from trainer.util.clock import DateArgument, session_day


class ChatEncoder:
    """A tokenizer and its chat template, probed once and then used for many conversations.

    `template_kwargs` go to the chat template as keyword arguments. None means `enable_thinking=False` if the
    template takes it, and nothing else. `eos_token_ids` are the end-of-sequence tokens of the model's generation
    config, at which a server stops, besides the tokenizer's own. A tokenizer with one template for conversations with
    tools and one for those without uses both, as servers do.

    Raises:
        TemplateError: the tokenizer has no chat template, or one that cannot be parsed.
    """

    def __init__(
        self,
        tokenizer: Any,
        *,
        template_kwargs: Mapping[str, Any] | None = None,
        eos_token_ids: Iterable[int] = (),
        names_remedies: bool = True,
    ) -> None:
        self._tokenizer: Tokenizer = tokenizer
        self._eos_token_ids = tuple(eos_token_ids)
        texts = [template_text(tokenizer, for_tools=for_tools) for for_tools in (True, False)]
        if template_kwargs is None:
            takes = parsed(texts[0]).template_kwargs
            template_kwargs = {"enable_thinking": False} if "enable_thinking" in takes else {}
        self.template_kwargs: dict[str, Any] = dict(template_kwargs)
        eos = self.eos_tokens
        self._with_tools = bind_template(tokenizer, self.template_kwargs, for_tools=True, eos=eos)
        self._without_tools = self._with_tools
        if texts[0] != texts[1]:
            self._without_tools = bind_template(tokenizer, self.template_kwargs, for_tools=False, eos=eos)
        self.profile: TemplateProfile = self._with_tools.profile
        self._prover = SpanProver(tokenizer)
        added = self._tokenizer.added_tokens_decoder
        self._special = tuple(token.content for token in added.values() if token.special)
        self._names_remedies = names_remedies
        self._others: dict[tuple[str | None, str], ChatEncoder] = {}

    def _template(self, tools: Sequence[Tool]) -> BoundTemplate:
        return self._with_tools if tools else self._without_tools

    @property
    def stop_token_ids(self) -> tuple[int, ...]:
        """The ids of the tokens that end an assistant turn."""
        both = (*self._with_tools.profile.stop_token_ids, *self._without_tools.profile.stop_token_ids)
        return tuple(dict.fromkeys(both))

    @property
    def eos_tokens(self) -> tuple[str, ...]:
        """The texts of the tokens at which a server stops by itself: the tokenizer's and the generation config's."""
        named = self._tokenizer.convert_ids_to_tokens([i for i in self._eos_token_ids if i >= 0])
        return tuple(token for token in (self._tokenizer.eos_token, *named) if token)

    @property
    def special_tokens(self) -> tuple[str, ...]:
        """The texts of the tokenizer's special tokens."""
        return tuple(dict.fromkeys((*self._special, *self.eos_tokens)))

    @property
    def added_tokens(self) -> tuple[str, ...]:
        """The texts of all tokens that the tokenizer splits texts at, but for white space."""
        return tuple(token for token in self._tokenizer.get_added_vocab() if token.strip())

    @property
    def content_format(self) -> ContentFormat | None:
        """The shape of message content that the template reads, in vLLM's terms; None if two templates differ in it."""
        same = self._without_tools.profile.content_format == self.profile.content_format
        return self.profile.content_format if same else None

    @property
    def date_argument(self) -> DateArgument | None:
        """The template argument with which a request names its day, if a template takes one."""
        return self._with_tools.profile.dates.argument or self._without_tools.profile.dates.argument

    @property
    def has_two_templates(self) -> bool:
        """Whether conversations without tools have a template of their own."""
        return self._with_tools is not self._without_tools

    def render(
        self,
        messages: Sequence[Message],
        tools: Sequence[Tool],
        *,
        add_generation_prompt: bool,
        day: date | None = None,
    ) -> str:
        """Return the text of a conversation as a server renders it on a day, with the template arguments set.

        Without `day`, it is the text of today. Raises `TemplateError` if the template rejects the conversation.
        """
        forget_json()
        renderer = self._template(tools).renderer
        try:
            return renderer(canonical_messages(messages), tools, add_generation_prompt=add_generation_prompt, day=day)
        except RenderError as error:
            raise TemplateError(f"the chat template rejects the conversation: {error}") from error

    def prompt_ids(self, messages: Sequence[Message], tools: Sequence[Tool], *, day: date | None = None) -> list[int]:
        """Return the tokens of the serving prompt of the next assistant turn, on a day or today."""
        return self._prover.ids(self.render(messages, tools, add_generation_prompt=True, day=day))

    def date_kwargs(self, day: date) -> dict[str, str]:
        """Return the template arguments with which a request names its day; empty if the template takes none."""
        return {} if self.date_argument is None else self.date_argument.on(day)

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of tokens, including special tokens."""
        return self._prover.decode(ids)

    def changes(self, text: str) -> bool:
        """Return whether the tokenizer does not give back a text as it is."""
        return self.decode(self._prover.ids(text)) != text

    def turn_texts(
        self, messages: Sequence[Message], tools: Sequence[Tool], *, day: date | None = None
    ) -> list[TurnText]:
        """Return the serving prompt and target text of each trained turn. Raises `DataError` or `TemplateError`."""
        forget_json()
        try:
            return self._template(tools).reader.read(canonical_messages(messages), tools, day=day)
        except Refused as refused:
            raise TemplateError(str(refused)) from refused

    def encode(
        self, messages: Sequence[Message], tools: Sequence[Tool], *, session_id: str, day: date | None = None
    ) -> EncodedSession:
        """Return the fewest rows in which every trained turn directly follows its exact serving prompt.

        A session without `day` has one that is drawn from its id.

        Raises:
            DataError: a message is malformed.
            TemplateError: the template drops part of the data, or a turn cannot be proven.
        """
        (encoded,) = self.encode_batch([Session(session_id, tuple(messages), tuple(tools), day)])
        if isinstance(encoded, EncodedSession):
            return encoded
        raise encoded

    def encode_batch(self, sessions: Iterable[Session]) -> list[EncodedSession | DataError | TemplateError]:
        """Encode many sessions with few tokenizer calls. The entry of a refused session is its error."""
        forget_json()
        started = [self._start(session) for session in sessions]
        unfinished = [session for session in started if session.pending]
        tokenize = self._prover.batch
        while unfinished:
            tokenized = tokenize([session.pending[-1].whole for session in unfinished])
            for session, row in zip(unfinished, tokenized, strict=True):
                try:
                    self._add_row(session, row)
                except TemplateError as error:
                    session.error = _located(error, session.session_id)
            unfinished = [session for session in unfinished if session.pending and session.error is None]
            if unfinished and tokenize == self._prover.batch:
                pieces = TokenPieces(self._tokenizer, self._prover.batch)
                pieces.learn(tokenized)
                tokenize = pieces.batch
        return [session.result() for session in started]

    def _start(self, session: Session) -> "_SessionInProgress":
        day = session.day or session_day(session.session_id)
        started = _SessionInProgress(session.session_id, day)
        try:
            messages = canonical_messages(session.messages)
            reader = self._template(session.tools).reader
            try:
                started.pending = reader.read(messages, session.tools, day=day)
            except Refused as refused:
                known = Session(session.session_id, messages, session.tools, day)
                raise TemplateError(f"{refused}{self._remedy(refused, known)}") from refused
            texts = [message.get("content") or "" for message in messages]
            started.literal_specials = literal_tokens(texts, self._special)
        except (DataError, TemplateError) as error:
            started.error = _located(error, session.session_id)
        return started

    def _remedy(self, refused: Refused, session: Session) -> str:
        if not self._names_remedies:
            return ""
        takes = self._template(session.tools).profile.template_kwargs
        advice = find_remedy(refused, session, self._encodes, template_kwargs=self.template_kwargs, takes=takes)
        return f"; {advice}"

    def _encodes(self, session: Session, template: str | None, template_kwargs: Mapping[str, Any]) -> bool:
        """Return whether a session can be encoded with another template or other template arguments."""
        key = (template, repr(sorted(template_kwargs.items())))
        if key not in self._others:
            tokenizer: Any = self._tokenizer if template is None else with_template(self._tokenizer, template)
            self._others[key] = ChatEncoder(
                tokenizer,
                template_kwargs=template_kwargs,
                eos_token_ids=self._eos_token_ids,
                names_remedies=False,
            )
        (encoded,) = self._others[key].encode_batch([session])
        return isinstance(encoded, EncodedSession)

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
        session.rows.append(EncodedRow(ids[: span.end], tuple(sorted(spans, key=lambda span: span.start)), session.day))
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
    day: date
    pending: list[TurnText]
    rows: list[EncodedRow]
    literal_specials: tuple[tuple[int, str], ...]
    error: DataError | TemplateError | None

    def __init__(self, session_id: str, day: date) -> None:
        self.session_id, self.day = session_id, day
        self.pending, self.rows, self.literal_specials, self.error = [], [], (), None

    def result(self) -> EncodedSession | DataError | TemplateError:
        if self.error is not None:
            return self.error
        rows = tuple(sorted(self.rows, key=lambda row: row.spans[-1].turn))
        return EncodedSession(self.session_id, rows, self.literal_specials)


def _located(error: DataError | TemplateError, session_id: str) -> DataError | TemplateError:
    separator = ", " if str(error).startswith("turn ") else ": "
    return type(error)(f"session {session_id}{separator}{error}")
