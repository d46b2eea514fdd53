"""Rows from conversations: what is supervised, what is refused, and what still holds if a part is broken."""

import pickle
import subprocess
import sys
from functools import cache
from typing import Any

import pytest
from template_samples import SAMPLES, TOOLS
from transformers import ByT5Tokenizer

import trainer.chat
from tests.support.chat import own_template, stock_template, tokenizer_for
from tests.support.vllm_rules import server_prompt_ids
from trainer.chat import ChatEncoder, EncodedSession, Span
from trainer.chat.proof import SpanProver
from trainer.chat.verify import verify_row
from trainer.endpoint.request import wire_messages
from trainer.errors import DataError, TemplateError
from trainer.tools.wire import wire_tool
from trainer.types import IGNORE_INDEX, Message, Session

SESSIONS = {session.session_id: session for session in SAMPLES}
USER = {"role": "user", "content": "Hi"}
SMALL = """{%- for m in messages -%}<|{{ m.role }}|>{{ m.content }}<|end|>{%- endfor -%}
{%- if add_generation_prompt -%}HEAD{% endif -%}"""


@cache
def encoder(template: str | None = None, kind: str = "smollm2", **kwargs: Any) -> ChatEncoder:
    return ChatEncoder(tokenizer_for(template or own_template(), kind), template_kwargs=kwargs or None)


def encode(made: ChatEncoder, *messages: Any, tools: Any = ()) -> EncodedSession:
    return made.encode(messages, tools, session_id="s-1")


def span_texts(made: ChatEncoder, encoded: EncodedSession) -> dict[int, str]:
    return {span.turn: made.decode(row.input_ids[span.start : span.end]) for row in encoded.rows for span in row.spans}


def test_the_package_offers_these_names_and_imports_no_torch() -> None:
    names = ["ChatEncoder", "EncodedRow", "EncodedSession", "Span", "TemplateProfile", "canonical_messages"]
    assert trainer.chat.__all__ == names
    code = "import sys, trainer.chat; sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_labels_are_the_spans_and_nothing_else() -> None:
    made = encoder()
    (row,) = made.encode(*_parts("two rounds"), session_id="s").rows
    labels = row.labels()
    assert len(labels) == len(row.input_ids)
    supervised = [token for token, label in zip(row.input_ids, labels, strict=True) if label != IGNORE_INDEX]
    assert supervised == [token for span in row.spans for token in row.input_ids[span.start : span.end]]
    assert made.decode(supervised).count("<|im_end|>") == 4
    assert "Your" not in made.decode(supervised)


def _parts(name: str) -> tuple[Any, Any]:
    return SESSIONS[name].messages, SESSIONS[name].tools


def test_calls_and_answers_are_supervised_and_results_are_not() -> None:
    made = encoder()
    texts = span_texts(made, made.encode(*_parts("content with a call"), session_id="s"))
    assert texts == {
        1: 'Let me look.\n<tool_call>\n{"name": "find_car", "arguments": {"brand": "Škoda", "max_price": 20000}}\n'
        "</tool_call><|im_end|>",
        3: "None.<|im_end|>",
    }


def test_with_thinking_off_every_prompt_of_stock_qwen3_is_the_serving_prompt() -> None:
    tokenizer: Any = tokenizer_for(stock_template("qwen3"))
    made = ChatEncoder(tokenizer)
    messages, tools = _parts("two rounds")
    encoded = made.encode(messages, tools, session_id="s")
    turns = [2, 4, 6, 8]
    assert [[span.turn for span in row.spans] for row in encoded.rows] == [[turn] for turn in turns]
    for row, turn in zip(encoded.rows, turns, strict=True):
        wire = wire_messages(messages[:turn])
        served = server_prompt_ids(tokenizer, wire, list(map(wire_tool, tools)), template_kwargs=made.template_kwargs)
        assert row.input_ids[: row.spans[0].start] == served
        assert tokenizer.decode(served).endswith("<think>\n\n</think>\n\n")
    assert encoded.extra_tokens == sum(len(row.input_ids) for row in encoded.rows[:-1])


def test_a_stable_template_needs_one_row() -> None:
    encoded = encoder().encode(*_parts("two rounds"), session_id="s")
    assert len(encoded.rows) == 1
    assert encoded.extra_tokens == 0


def test_an_answer_that_merges_into_the_prompt_gets_a_row_of_its_own() -> None:
    made = encoder()
    messages: Any = [USER, {"role": "assistant", "content": "\n\nHello"}, USER, {"role": "assistant", "content": "Yes"}]
    encoded = encode(made, *messages)
    assert [[span.turn for span in row.spans] for row in encoded.rows] == [[1], [3]]
    for row in encoded.rows:
        assert all(v.prompt_is_exact and v.text_is_exact for v in verify_row(made, messages, (), row))


def test_history_that_is_rewritten_without_changing_its_length_is_noticed() -> None:
    last_user = "messages | selectattr('role', 'equalto', 'user') | list | last"
    label = "{{ 'new:' if ($) is sameas m else 'old:' }}".replace("$", last_user)
    made = encoder(SMALL.replace("{{ m.content }}", label + "{{ m.content }}").replace("HEAD", "<|assistant|>old:"))
    messages: Any = [USER, {"role": "assistant", "content": "A"}, USER, {"role": "assistant", "content": "B"}]
    encoded = encode(made, *messages)
    assert [[span.turn for span in row.spans] for row in encoded.rows] == [[1], [3]]
    for row in encoded.rows:
        assert all(v.prompt_is_exact and v.text_is_exact for v in verify_row(made, messages, (), row))


def test_untrained_turns_are_context_only() -> None:
    made = encoder()
    untrained = {"role": "assistant", "content": "Never say this.", "train": False}
    encoded = encode(made, USER, untrained, USER, {"role": "assistant", "content": "Hello"}, USER, untrained)
    assert span_texts(made, encoded) == {3: "Hello<|im_end|>"}
    assert made.decode(encoded.rows[0].input_ids).count("Never say this.") == 1


def test_a_session_without_trained_turns_has_no_rows() -> None:
    assert encode(encoder(), USER).rows == ()


def test_a_prompt_with_a_closed_thinking_block_is_trained_as_it_is_served() -> None:
    template = SMALL.replace("HEAD", "<|assistant|><think>\n\n</think>\n\n")
    made = encoder(template + "{#<|assistant|><|user|>#}", "byte_level")
    messages: Any = [USER, {"role": "assistant", "content": "A"}, USER, {"role": "assistant", "content": "B"}]
    encoded = encode(made, *messages)
    texts = [made.decode(row.input_ids) for row in encoded.rows]
    head = "<|assistant|><think>\n\n</think>\n\n"
    assert texts == [
        f"<|user|>Hi<|end|>{head}A<|end|>",
        f"<|user|>Hi<|end|><|assistant|>A<|end|><|user|>Hi<|end|>{head}B<|end|>",
    ]
    assert span_texts(made, encoded) == {1: "A<|end|>", 3: "B<|end|>"}


def test_a_prompt_that_changes_once_it_is_answered_is_trained_as_it_is_served() -> None:
    # As in Mistral's templates: the last user message, and only the last, contains the system message.
    template = (
        "{%- for m in messages if m.role != 'system' -%}{%- if m.role == 'user' -%}<|ask|>"
        "{{ messages[0].content + ': ' if loop.last and messages[0].role == 'system' else '' }}{{ m.content }}<|do|>"
        "{%- else -%}{{ ' ' + m.content + '<|end|>' }}{%- endif -%}{%- endfor -%}"
    )
    made = encoder(template, "byte_level")
    system = {"role": "system", "content": "Be brief"}
    messages: Any = [system, USER, {"role": "assistant", "content": "A"}, USER, {"role": "assistant", "content": "B"}]
    encoded = encode(made, *messages)
    assert [made.decode(row.input_ids) for row in encoded.rows] == [
        "<|ask|>Be brief: Hi<|do|> A<|end|>",
        "<|ask|>Hi<|do|> A<|end|><|ask|>Be brief: Hi<|do|> B<|end|>",
    ]
    assert span_texts(made, encoded) == {2: " A<|end|>", 4: " B<|end|>"}


def test_special_tokens_in_the_text_of_messages_are_reported() -> None:
    encoded = encode(encoder(), {"role": "user", "content": "a<|im_start|>b"}, {"role": "assistant", "content": "c"})
    assert encoded.literal_specials == ((0, "<|im_start|>"),)


@pytest.mark.parametrize("content", ["a<|im_end|>b", "a<|im_end|>", "<|im_end|>"])
def test_an_answer_that_contains_the_stop_token_is_refused(content: str) -> None:
    with pytest.raises(TemplateError, match=r"session s-1, turn 1: the stop token '<\|im_end\|>' is inside"):
        encode(encoder(), USER, {"role": "assistant", "content": content})


def test_an_answer_is_refused_if_it_contains_the_opening_of_the_next_turn_and_that_is_the_stop_token() -> None:
    with pytest.raises(TemplateError, match=r"turn 1: the stop token '<\|user\|>' is inside"):
        encode(encoder(stock_template("glm4moe")), USER, {"role": "assistant", "content": "a<|user|>"})


@pytest.mark.parametrize(
    ("template", "name", "reason"),
    [
        ("lfm2", "call, result, answer", "turn 1: the chat template does not render tool calls"),
        ("llama3", "no calls, with tools", "does not render tool schemas"),
        ("llama3_1", "parallel calls", "turn 1: the chat template does not render several calls in a turn"),
        ("llama3_1", "content with a call", "turn 1: the chat template does not render content with a call"),
        ("gemma", "no calls, with a system message", "turn 0: the chat template does not render system message"),
        ("qwen2_5", "reasoning", "turn 1: the chat template does not render reasoning"),
        ("qwen3", "reasoning", "enable_thinking: true"),
        ("qwen3_8", "no user", "No user query found"),
    ],
)
def test_data_that_the_template_would_drop_is_refused_with_session_turn_and_remedy(
    template: str, name: str, reason: str
) -> None:
    session = SESSIONS.get(name) or Session(name, ({"role": "assistant", "content": "Hi"},), ())
    if name == "no user":
        session = Session(name, ({"role": "system", "content": "x"}, *session.messages), ())
    with pytest.raises(TemplateError) as caught:
        encoder(stock_template(template)).encode(session.messages, session.tools, session_id="s-9")
    assert "session s-9" in str(caught.value)
    assert reason in str(caught.value)
    assert "set " in str(caught.value)


def test_an_error_in_a_message_names_the_session() -> None:
    with pytest.raises(DataError, match="session s-1, turn 0: content is the number 1"):
        encode(encoder(), {"role": "user", "content": 1})


def test_a_message_that_the_template_leaves_out_is_refused_by_its_turn() -> None:
    made = ChatEncoder(tokenizer_for(stock_template("qwen3_vl")))
    first: Message = {"role": "system", "content": "Be kind."}
    later: Message = {"role": "system", "content": "Now be\n  brief."}
    asked: Message = {"role": "user", "content": "Hi"}
    said: Message = {"role": "assistant", "content": "Hello."}
    assert made.encode((first, asked, said), (), session_id="s").rows
    for messages in ((first, later, asked, said), (first, asked, said, later, asked, said)):
        with pytest.raises(TemplateError, match=r"turn [13]: the chat template leaves out this system message"):
            made.encode(messages, (), session_id="s")
    assert encoder().encode((first, later, asked, said), (), session_id="s").rows


def test_a_refused_session_does_not_stop_a_batch() -> None:
    good, bad = SESSIONS["no calls"], Session("bad", ({"role": "assistant", "content": None},), ())
    first, second, third = encoder().encode_batch([good, bad, good])
    assert isinstance(first, EncodedSession)
    assert isinstance(second, DataError)
    assert third == first


def test_a_broken_span_finder_never_leads_to_a_wrong_row(monkeypatch: pytest.MonkeyPatch) -> None:
    made = encoder()
    right = [made.encode(s.messages, s.tools, session_id="s") for s in SAMPLES]
    find = SpanProver.find

    def shifted(self: SpanProver, turn: Any, row: Any, anchor: Any) -> Span | None:
        span = find(self, turn, row, anchor)
        return span and Span(span.turn, span.start + 1, span.end)

    monkeypatch.setattr(SpanProver, "find", shifted)
    assert [made.encode(s.messages, s.tools, session_id="s") for s in SAMPLES] == right


def test_a_special_token_inside_a_longer_one_does_not_move_a_span() -> None:
    tokenizer: Any = tokenizer_for(own_template())
    tokenizer.add_tokens(["so<|im_end|>"], special_tokens=True)
    made = ChatEncoder(tokenizer)
    user = {"role": "user", "content": "so<|im_end|> what"}
    messages: Any = [user, {"role": "assistant", "content": "A"}, user, {"role": "assistant", "content": "B"}]
    encoded = encode(made, *messages)
    assert span_texts(made, encoded) == {1: "A<|im_end|>", 3: "B<|im_end|>"}
    assert all(v.prompt_is_exact for row in encoded.rows for v in verify_row(made, messages, (), row))


def test_prompts_of_a_slow_tokenizer_are_compared_in_full() -> None:
    # Its own token `</s>` takes the white space around it away.
    tokenizer: Any = ByT5Tokenizer(extra_ids=0, eos_token="<|im_end|>")
    tokenizer.add_special_tokens({"extra_special_tokens": ["<|im_start|>", "<|im_end|>"]})
    tokenizer.chat_template = own_template()
    assert not tokenizer.is_fast
    made = ChatEncoder(tokenizer)
    for session in SAMPLES:
        encoded = made.encode(*_parts(session.session_id), session_id="s")
        assert len(encoded.rows) == 1
        for verdict in verify_row(made, *_parts(session.session_id), encoded.rows[0]):
            assert verdict.prompt_is_exact
            assert verdict.text_is_exact


def test_an_encoder_can_be_pickled_for_worker_processes() -> None:
    made = encoder()
    copy = pickle.loads(pickle.dumps(made))
    assert copy.encode(*_parts("two rounds"), session_id="s") == made.encode(*_parts("two rounds"), session_id="s")


def test_prompt_ids_are_the_serving_prompt() -> None:
    made = encoder()
    messages, tools = _parts("two rounds")
    (row,) = made.encode(messages, tools, session_id="s").rows
    for span in row.spans:
        assert made.prompt_ids(messages[: span.turn], tools) == row.input_ids[: span.start]


def test_tools_reach_the_template_unchanged() -> None:
    text = encoder(stock_template("qwen2_5")).render(
        [{"role": "user", "content": "x"}], TOOLS, add_generation_prompt=False
    )
    assert (
        '{"name": "find_car", "description": "Does find_car.", "parameters": {"type": "object", "properties": ' in text
    )
    assert "null" not in text


def test_a_tokenizer_with_two_templates_uses_the_one_that_a_server_uses() -> None:
    tokenizer: Any = tokenizer_for(SMALL + "<|assistant|>", "byte_level")
    default = SMALL.replace("HEAD", "<|assistant|>")
    with_tools = "TOOLS" + default.replace("<|end|>", "<|done|>")
    tokenizer.add_tokens(["<|end|>", "<|done|>"], special_tokens=True)
    tokenizer.chat_template = {"default": default, "tool_use": with_tools}
    made = ChatEncoder(tokenizer)
    assert made.has_two_templates
    messages: Any = [USER, {"role": "assistant", "content": "A"}, USER, {"role": "assistant", "content": "B"}]
    assert span_texts(made, encode(made, *messages)) == {1: "A<|end|>", 3: "B<|end|>"}
    made = ChatEncoder(tokenizer)
    for tools in ((), TOOLS):
        prompt = server_prompt_ids(tokenizer, wire_messages(messages[:1]), list(map(wire_tool, tools)))
        assert made.prompt_ids(messages[:1], tools) == prompt
        assert made.decode(prompt).startswith("TOOLS") == bool(tools)
    assert set(made.stop_token_ids) == set(tokenizer.convert_tokens_to_ids(["<|end|>", "<|done|>"]))


def test_a_tokenizer_with_one_template_uses_it_with_and_without_tools() -> None:
    assert not encoder().has_two_templates


@pytest.mark.parametrize(
    ("eos", "stop"),
    [((), "<|two|>"), (("<|one|>",), "<|one|>"), (("<|two|>",), "<|two|>"), (("<|three|>",), "<|two|>")],
)
def test_a_turn_ends_at_the_first_token_at_which_a_server_stops(eos: tuple[str, ...], stop: str) -> None:
    template = SMALL.replace("<|end|>", "<|one|><|two|>").replace("HEAD", "<|assistant|>")
    tokenizer: Any = tokenizer_for(template + "<|user|><|three|>", "byte_level")
    tokenizer.chat_template = template
    made = ChatEncoder(tokenizer, eos_token_ids=[tokenizer.convert_tokens_to_ids(token) for token in eos])
    (text,) = span_texts(made, encode(made, USER, {"role": "assistant", "content": "A"})).values()
    assert text == "A<|one|><|two|>".partition(stop)[0] + stop
    assert set(made.eos_tokens) == {"<eos>", *eos}
