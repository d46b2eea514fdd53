"""A server's flags come from the run folder."""

import dataclasses
import json
import shutil
from pathlib import Path

import pytest

from tests.support.tiny_runs import make_run, write_config
from trainer.data.chat_setup import make_chat_setup
from trainer.errors import EndpointError, ModelError
from trainer.serving.plan import plan_serving
from trainer.serving.vllm import (
    find_vllm,
    refuse_unservable,
    shell_line,
    vllm_arguments,
    write_serving_files,
)
from trainer.tool_calls import get_format
from trainer.training.finished_run import FinishedRun, read_run
from trainer.vllm_flags import VLLM_RANKS


@pytest.fixture
def run(tiny_model_folder: Path, tmp_path: Path) -> FinishedRun:
    return make_run(tiny_model_folder, tmp_path / "carsales", "lora.r=12", "data.max_context_length=1024")


def template_stops(run: FinishedRun) -> tuple[int, ...]:
    return make_chat_setup(run.cfg, folder=run.path).encoder.stop_token_ids


def flags(run: FinishedRun, **options: object) -> dict[str, str]:
    """Return the command line as a mapping; a flag without a value maps to an empty string."""
    plan = plan_serving(run, **options)  # type: ignore[arg-type]
    words = vllm_arguments(plan, files=Path("stops"), host="127.0.0.1", port=8123)
    assert words[0] == "serve"
    found = {"model": words[1]}
    for word, following in zip(words[2:], [*words[3:], "--"], strict=True):
        if word.startswith("--"):
            found[word] = "" if following.startswith("--") else following
    return found


def test_base_and_adapter_are_served_as_trained(run: FinishedRun, tiny_model_folder: Path) -> None:
    found = flags(run)
    assert found["model"] == str(tiny_model_folder)
    assert found["--served-model-name"] == str(tiny_model_folder)
    assert json.loads(found["--lora-modules"]) == {"name": "carsales", "path": str(run.path)}
    assert found["--enable-lora"] == ""
    assert found["--max-lora-rank"] == "16"
    assert found["--chat-template"] == str(run.path / "chat_template.jinja")
    assert found["--chat-template-content-format"] == plan_serving(run).chat.encoder.content_format
    assert found["--tokenizer"] == str(run.path)
    assert found["--tool-call-parser"] == "tool_sft_hermes"
    assert found["--tool-parser-plugin"] == str(Path("stops/tool_sft_parser.py").absolute())
    assert found["--enable-auto-tool-choice"] == ""
    assert found["--max-model-len"] == "1024"
    assert found["--dtype"] == "float32"
    assert (found["--host"], found["--port"]) == ("127.0.0.1", "8123")
    assert not {"--trust-remote-code", "--quantization", "--revision", "--reasoning-parser"} & set(found)


def test_a_base_model_from_the_hub_is_served_at_its_commit(run: FinishedRun) -> None:
    plan = dataclasses.replace(plan_serving(run), model="owner/model", revision="1234abcd")
    words = vllm_arguments(plan, files=Path("stops"), host="127.0.0.1", port=8123)
    assert words[:2] == ["serve", "owner/model"]
    assert words[words.index("--revision") + 1] == "1234abcd"


@pytest.mark.parametrize(("rank", "flag"), [(1, 1), (8, 8), (9, 16), (100, 128), (257, 320), (512, 512)])
def test_the_rank_is_rounded_up_to_one_that_vllm_accepts(run: FinishedRun, rank: int, flag: int) -> None:
    assert rank in VLLM_RANKS or flag in VLLM_RANKS
    adapter = FinishedRun(run.path, run.cfg, {**run.adapter, "r": rank})
    assert flags(adapter)["--max-lora-rank"] == str(flag)


def test_the_adapter_gets_the_requested_name(run: FinishedRun) -> None:
    assert json.loads(flags(run, name="my cars")["--lora-modules"])["name"] == "my cars"
    with pytest.raises(ModelError, match="--name"):
        plan_serving(run, name=run.cfg.model.base_model_name)


def test_a_merged_model_is_served_alone(run: FinishedRun, tmp_path: Path) -> None:
    merged = tmp_path / "merged"
    with pytest.raises(ModelError, match=r"tool-sft merge"):
        plan_serving(run, merged=merged)
    make_chat_setup(run.cfg, folder=run.path).tokenizer.save_pretrained(merged)
    (merged / "config.json").write_text('{"model_type": "llama", "dtype": "bfloat16"}')
    found = flags(run, merged=merged)
    assert found["model"] == found["--tokenizer"] == str(merged)
    assert found["--served-model-name"] == "carsales"
    assert not {"--enable-lora", "--lora-modules", "--max-lora-rank"} & set(found)
    assert found["--dtype"] == "bfloat16"
    (merged / "merge.json").write_text('{"dtype": "float16"}')
    assert flags(run, merged=merged)["--dtype"] == "float16"


def test_vllm_stops_where_training_stopped_and_has_no_sampling_defaults(
    run: FinishedRun, tiny_model_folder: Path
) -> None:
    from transformers import GenerationConfig

    GenerationConfig(eos_token_id=[7, 9], temperature=0.3, do_sample=True).save_pretrained(tiny_model_folder)
    plan = plan_serving(run)
    assert set(plan.stop_token_ids) == {7, 9, *template_stops(run)}
    folder = write_serving_files(plan)
    assert folder == run.path / "serving"
    read = GenerationConfig.from_pretrained(folder)  # as vLLM reads it
    assert read.to_diff_dict().keys() <= {"eos_token_id", "transformers_version"}
    assert read.eos_token_id == sorted(plan.stop_token_ids)
    assert flags(run)["--generation-config"] == "stops"


def test_a_model_without_generation_config_uses_the_stop_tokens_of_its_configuration(
    run: FinishedRun, tiny_model_folder: Path
) -> None:
    (tiny_model_folder / "generation_config.json").unlink()
    path = tiny_model_folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "eos_token_id": 11}))
    assert set(plan_serving(run).stop_token_ids) == {11, *template_stops(run)}


def test_a_temporary_folder_is_used_if_the_run_folder_cannot_be_written(run: FinishedRun) -> None:
    (run.path / "serving").write_text("in the way")
    folder = write_serving_files(plan_serving(run))
    assert json.loads((folder / "generation_config.json").read_text())["eos_token_id"]
    shutil.rmtree(folder)


def test_remote_code_is_trusted_only_if_the_configuration_says_so(run: FinishedRun) -> None:
    model = run.cfg.model.model_copy(update={"trust_remote_code": True})
    write_config(run.path, run.cfg.model_copy(update={"model": model}))
    assert "--trust-remote-code" in flags(read_run(run.path))


def test_template_arguments_reach_every_prompt(run: FinishedRun) -> None:
    data = run.cfg.data.model_copy(update={"chat_template_kwargs": {"enable_thinking": False}})
    write_config(run.path, run.cfg.model_copy(update={"data": data}))
    found = flags(read_run(run.path))
    assert json.loads(found["--default-chat-template-kwargs"]) == {"enable_thinking": False}


def test_a_tokenizer_with_a_template_for_tools_and_another_keeps_both(run: FinishedRun) -> None:
    chat = make_chat_setup(run.cfg, folder=run.path)
    template = str(chat.tokenizer.chat_template)
    assert flags(run)["--chat-template"]
    chat.tokenizer.chat_template = {"default": template, "tool_use": template + "{# tools #}"}
    chat.tokenizer.save_pretrained(run.path)
    assert (run.path / "additional_chat_templates" / "tool_use.jinja").is_file()
    found = flags(run)
    assert "--chat-template" not in found  # vLLM would use this one file for all requests
    assert found["--tokenizer"] == str(run.path)
    assert found["--chat-template-content-format"] == "string"


def test_a_note_warns_that_vllm_ignores_the_template_of_gpt_oss(run: FinishedRun, tiny_model_folder: Path) -> None:
    assert plan_serving(run).notes() == []
    path = tiny_model_folder / "config.json"
    plan = plan_serving(run)
    assert plan.model_type == json.loads(path.read_text())["model_type"]
    (note,) = dataclasses.replace(plan, model_type="gpt_oss").notes()
    assert "VLLM_SYSTEM_START_DATE" in note
    path.unlink()
    assert plan_serving(run).model_type is None


def test_the_chosen_parser_of_vllm_is_passed_without_a_plugin(run: FinishedRun) -> None:
    found = flags(run, with_vllm_parser=True)
    assert found["--tool-call-parser"] == "hermes"
    assert "--tool-parser-plugin" not in found
    folder = write_serving_files(plan_serving(run, with_vllm_parser=True))
    assert [file.name for file in folder.iterdir()] == ["generation_config.json"]


def test_gpt_oss_keeps_the_only_parser_that_vllm_accepts_for_it(run: FinishedRun) -> None:
    plan = dataclasses.replace(plan_serving(run), model_type="gpt_oss")
    assert not plan.uses_plugin
    assert plan.call_parser == "hermes"


def test_a_format_without_parser_of_vllm_needs_the_plugin(run: FinishedRun) -> None:
    own = dataclasses.replace(get_format("hermes"), name="made_up", vllm_parser=None)
    plan = plan_serving(run)
    plan = dataclasses.replace(plan, chat=dataclasses.replace(plan.chat, fmt=own))
    assert plan.call_parser == "tool_sft_made_up"
    assert plan.notes() == []
    plan = dataclasses.replace(plan, with_vllm_parser=True)
    assert "--tool-call-parser" not in vllm_arguments(plan, files=Path("stops"), host="h", port=1)
    assert "made_up" in plan.notes()[0]


def test_a_parser_that_refuses_the_tokenizer_is_not_passed(run: FinishedRun) -> None:
    plan = plan_serving(run, with_vllm_parser=True)
    plan = dataclasses.replace(plan, chat=dataclasses.replace(plan.chat, fmt=get_format("llama3_json")))
    assert plan.call_parser is None
    assert "--tool-call-parser" not in vllm_arguments(plan, files=Path("stops"), host="h", port=1)
    assert "<|python_tag|>" in plan.notes()[0]
    assert dataclasses.replace(plan, with_vllm_parser=False).notes() == []
    plan.chat.tokenizer.add_tokens(["<|python_tag|>"])
    assert plan.call_parser == "llama3_json"
    assert not any("<|python_tag|>" in note for note in plan.notes())


def test_a_quantized_base_is_served_in_the_same_precision_or_refused(run: FinishedRun) -> None:
    def quantized(bits: str) -> FinishedRun:
        model = run.cfg.model.model_copy(update={"quantization": bits})
        return FinishedRun(run.path, run.cfg.model_copy(update={"model": model}), run.adapter)

    assert flags(quantized("4bit"))["--quantization"] == "bitsandbytes"
    assert "bitsandbytes" in plan_serving(quantized("4bit")).notes()[0]
    with pytest.raises(ModelError, match=r"8bit.*--engine transformers"):
        refuse_unservable(quantized("8bit"))


@pytest.mark.parametrize(
    ("settings", "said"),
    [({"bias": "all"}, "biases"), ({"use_dora": True}, "DoRA"), ({"r": 600}, "rank 600")],
)
def test_what_vllm_cannot_serve_is_refused_with_advice(
    run: FinishedRun, settings: dict[str, object], said: str
) -> None:
    refuse_unservable(run)
    with pytest.raises(ModelError, match=f"{said}.*--merged"):
        refuse_unservable(FinishedRun(run.path, run.cfg, {**run.adapter, **settings}))


def test_an_error_for_a_missing_vllm_names_the_extra_and_the_alternative(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.setattr("sys.executable", "/nonexistent/python")
    with pytest.raises(EndpointError, match=r"(?s)--extra serve.*--engine transformers"):
        find_vllm(None)
    with pytest.raises(EndpointError, match="/no/vllm"):
        find_vllm("/no/vllm")


def test_a_printed_command_can_be_pasted_into_a_shell() -> None:
    assert shell_line(["vllm", "serve", "a b", "--x", '{"k": 1}', "--y"]) == (
        "vllm serve 'a b' \\\n  --x '{\"k\": 1}' \\\n  --y"
    )
