"""Base models, adapters, pad tokens and precision."""

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from tests.support.quick import EMBEDDED, QUICKSTART, tiny_model
from trainer.config import load_config
from trainer.config.schema import LoraConfig
from trainer.errors import ModelError
from trainer.lora_model import add_lora, load_base_model, pick_dtype
from trainer.model_source import resolve_model
from trainer.tokenizer import load_tokenizer, set_pad_token


def test_only_the_adapter_can_be_trained() -> None:
    model = add_lora(tiny_model(50), LoraConfig(r=4, target_modules=["q_proj", "down_proj"]))
    trainable = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert trainable
    assert all("lora_" in name and ("q_proj" in name or "down_proj" in name) for name in trainable)


def test_a_new_adapter_changes_nothing_and_can_be_disabled() -> None:
    base = tiny_model(50)
    ids = torch.tensor([[3, 4, 5]])
    expected = base(input_ids=ids).logits
    model = add_lora(base, LoraConfig(r=4))
    torch.testing.assert_close(model(input_ids=ids).logits, expected)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter)
    assert not torch.allclose(model(input_ids=ids).logits, expected)
    with model.disable_adapter():
        torch.testing.assert_close(model(input_ids=ids).logits, expected)


def test_a_target_may_be_a_path_into_the_model() -> None:
    add_lora(tiny_model(50), LoraConfig(r=2, target_modules=["layers.0.self_attn.q_proj"]))


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [(r".*\.layers\.9\..*_proj", "linear modules of this model"), ("*_proj", "not a regular expression")],
)
def test_a_pattern_must_match_some_module(pattern: str, reason: str) -> None:
    add_lora(tiny_model(50), LoraConfig(r=2, target_modules=r".*\.layers\.1\..*_proj"))
    with pytest.raises(ModelError, match=reason):
        add_lora(tiny_model(50), LoraConfig(r=2, target_modules=pattern))


class FakeTokenizer(SimpleNamespace):
    """The part of a tokenizer that pad tokens need."""

    def get_vocab(self) -> dict[str, int]:
        return {"<eos>": 0, "<unk>": 1, "<reserved>": 2}


@pytest.mark.parametrize(("fallback", "expected"), [("eos", "<eos>"), ("unk", "<unk>"), ("<reserved>", "<reserved>")])
def test_a_missing_pad_token_falls_back_to_an_existing_one(fallback: str, expected: str) -> None:
    tokenizer: Any = FakeTokenizer(pad_token=None, eos_token="<eos>", unk_token="<unk>")
    set_pad_token(tokenizer, fallback=fallback)
    assert tokenizer.pad_token == expected


def test_an_existing_pad_token_stays() -> None:
    tokenizer: Any = FakeTokenizer(pad_token="<reserved>", eos_token="<eos>", unk_token=None)
    set_pad_token(tokenizer, fallback="eos")
    assert tokenizer.pad_token == "<reserved>"


@pytest.mark.parametrize("fallback", ["unk", "<new>"])
def test_a_pad_token_never_enlarges_the_vocabulary(fallback: str) -> None:
    tokenizer: Any = FakeTokenizer(pad_token=None, eos_token="<eos>", unk_token=None)
    with pytest.raises(ModelError, match="pad_token_fallback"):
        set_pad_token(tokenizer, fallback=fallback)


def test_the_model_takes_the_pad_token_of_the_tokenizer(tiny_model_folder: Path) -> None:
    cfg = load_config(QUICKSTART, [f"model.base_model_name={tiny_model_folder}"])
    tokenizer = load_tokenizer(cfg)
    model = load_base_model(cfg, pad_token_id=tokenizer.pad_token_id)
    assert model.config.pad_token_id == tokenizer.pad_token_id == tokenizer.eos_token_id


def test_the_configured_precision_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    assert pick_dtype("float16") is torch.float16
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    cases: tuple[tuple[dict[str, object], torch.dtype], ...] = (
        ({"avx512_bf16": True, "cpu_name": "AMD EPYC 9R14"}, torch.bfloat16),
        ({"avx512_bf16": True, "cpu_name": "Intel Xeon"}, torch.float32),
        ({"avx512_bf16": True, "amx_bf16": True, "cpu_name": "Intel Xeon"}, torch.bfloat16),
        ({"avx2": True}, torch.float32),
    )
    for capabilities, expected in cases:
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda value=capabilities: value)
        assert pick_dtype("auto") is expected


def test_a_chat_template_file_replaces_the_tokenizers_own(tmp_path: Path) -> None:
    path = tmp_path / "template.jinja"
    path.write_text("{% for m in messages %}{{ m.content }}{% endfor %}", encoding="utf-8")
    cfg = load_config(QUICKSTART, [f"model.chat_template_path={path}"])
    assert load_tokenizer(cfg).chat_template == path.read_text(encoding="utf-8")


def test_a_tokenizer_without_template_is_refused(tiny_model_folder: Path) -> None:
    (tiny_model_folder / "chat_template.jinja").unlink()
    with pytest.raises(ModelError, match=r"has no chat template; set model\.chat_template_path"):
        load_tokenizer(load_config(QUICKSTART, [f"model.base_model_name={tiny_model_folder}"]))


def test_the_embedded_model_is_converted_once(embedded_folder: Path) -> None:
    before = (embedded_folder / "model.safetensors").stat().st_mtime
    assert Path(resolve_model(EMBEDDED)) == embedded_folder
    assert (embedded_folder / "model.safetensors").stat().st_mtime == before


def test_a_conversion_that_fails_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object) -> None:
        raise MemoryError

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("trainer.model_source._convert", fail)
    with pytest.raises(MemoryError):
        resolve_model(EMBEDDED)
    assert list((tmp_path / "llm-tool-call-sft").iterdir()) == []


def test_hub_ids_stay_the_same_and_folders_are_found(tmp_path: Path) -> None:
    assert resolve_model("Qwen/Qwen3-4B-Instruct-2507") == "Qwen/Qwen3-4B-Instruct-2507"
    assert resolve_model(str(tmp_path)) == str(tmp_path)


def test_a_broken_model_folder_is_one_message(tiny_model_folder: Path) -> None:
    shutil.rmtree(tiny_model_folder)
    tiny_model_folder.mkdir()
    with pytest.raises(ModelError, match="the base model cannot be loaded"):
        load_base_model(load_config(QUICKSTART, [f"model.base_model_name={tiny_model_folder}"]))
