"""Tokenizers of strangers' models: text survives, templates in every form load, and a rendering has one BOS."""

import json
from pathlib import Path
from typing import Any

import pytest
from tokenizers import decoders
from transformers import AutoTokenizer, PreTrainedTokenizerFast
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from tests.support.chat import stock_template, tokenizer_for
from tests.support.quick import QUICKSTART
from tests.support.tokenizers import packaged_tokenizer_folder, tokenizer_copy
from trainer.config import load_config
from trainer.errors import ModelError
from trainer.tokenizer import decode_text, load_tokenizer

HELLO: list[Any] = [{"role": "user", "content": "Hello"}]
PLAIN = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
MODEL_TYPES = {
    "gemma3": "gemma3_text",
    "llama3_1": "llama",
    "llama3_2": "llama",
    "mistral_nemo": "mistral",
    "qwen2_5": "qwen2",
    "qwen3": "qwen3",
}


def loaded(folder: Path, *overrides: str) -> PreTrainedTokenizerBase:
    return load_tokenizer(load_config(QUICKSTART, [f"model.base_model_name={folder}", *overrides]))


def with_template(folder: Path, template: str) -> str:
    """Write a template and return the override that names it."""
    path = folder / "own.jinja"
    path.write_text(template, encoding="utf-8")
    return f"model.chat_template_path={path}"


@pytest.mark.parametrize("name", MODEL_TYPES)
def test_tokenizers_of_well_known_models_keep_every_text(name: str, tmp_path: Path) -> None:
    source = packaged_tokenizer_folder(name)
    tokenizer = loaded(tokenizer_copy(source, tmp_path / name, model_type=MODEL_TYPES[name]))
    for text in ("The red car", "\n\n  a  b\tc", '{"price": 1.5, "ort": "Zürich"}', "你好 🚗"):
        assert decode_text(tokenizer, tokenizer(text, add_special_tokens=False)["input_ids"]) == text


def test_a_byte_level_tokenizer_with_the_label_of_another_kind_is_refused(
    embedded_folder: Path, tmp_path: Path
) -> None:
    folder = tokenizer_copy(embedded_folder, tmp_path / "wrong", tokenizer_class="LlamaTokenizerFast")
    with pytest.raises(ModelError, match=r"loses text: 'The red car.*Theredcar.*set tokenizer_class"):
        loaded(folder)
    # The model's own type, beside it, says otherwise: transformers then reads tokenizer.json as it is.
    assert loaded(tokenizer_copy(folder, tmp_path / "right", model_type="deepseek_v3"))
    # The remedy in the message works.
    assert loaded(tokenizer_copy(folder, tmp_path / "fixed", tokenizer_class="PreTrainedTokenizerFast"))


def test_a_tokenizer_with_a_wrong_label_but_the_right_model_type_survives_saving(
    embedded_folder: Path, tmp_path: Path
) -> None:
    label = {"tokenizer_class": "LlamaTokenizerFast"}
    folder = tokenizer_copy(embedded_folder, tmp_path / "base", model_type="deepseek_v3", **label)
    loaded(folder).save_pretrained(tmp_path / "saved")
    cfg = load_config(QUICKSTART, [f"model.base_model_name={folder}"])
    assert load_tokenizer(cfg, folder=tmp_path / "saved").get_vocab() == loaded(folder).get_vocab()


def test_a_tokenizer_that_puts_a_space_in_front_is_accepted(tmp_path: Path) -> None:
    tokenizer = tokenizer_for(PLAIN, "metaspace")
    tokenizer.backend_tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    tokenizer.save_pretrained(tmp_path)
    again = loaded(tmp_path)
    assert decode_text(again, again("Hi you", add_special_tokens=False)["input_ids"]) == " Hi you"


def test_a_folder_without_vocabulary_is_refused(embedded_folder: Path, tmp_path: Path) -> None:
    folder = tokenizer_copy(embedded_folder, tmp_path / "empty", tokenizer_class="Qwen2Tokenizer")
    (folder / "tokenizer.json").unlink()
    with pytest.raises(ModelError, match=r"loses text.*check that tokenizer\.json"):
        loaded(folder)


@pytest.mark.parametrize("content", ["{", '{"version": "1.0", "model": {"type": "Other"}}'])
def test_a_broken_file_is_one_message(content: str, embedded_folder: Path, tmp_path: Path) -> None:
    folder = tokenizer_copy(embedded_folder, tmp_path / "broken")
    (folder / "tokenizer.json").write_text(content, encoding="utf-8")
    with pytest.raises(ModelError, match="the tokenizer cannot be loaded"):
        loaded(folder)


def test_the_tokenizer_of_mistral_common_is_never_asked_for(
    embedded_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[dict[str, Any]] = []
    original = AutoTokenizer.from_pretrained

    def record(*arguments: Any, **options: Any) -> Any:
        asked.append(options)
        return original(*arguments, **options)

    monkeypatch.setattr(AutoTokenizer, "from_pretrained", record)
    folder = tokenizer_copy(embedded_folder, tmp_path / "mistral", model_type="mistral")
    (folder / "tekken.json").write_text("{}", encoding="utf-8")
    loaded(folder).save_pretrained(tmp_path / "saved")
    load_tokenizer(load_config(QUICKSTART), folder=tmp_path / "saved")
    assert [options["mistral_format"] for options in asked] == [False, False]


def test_a_tokenizer_of_mistral_common_is_refused(embedded_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class MistralCommonBackend(PreTrainedTokenizerFast):
        """What transformers returns if tokenizer_config.json names this class and mistral-common is installed."""

    backend = MistralCommonBackend.from_pretrained(embedded_folder)
    monkeypatch.setattr(AutoTokenizer, "from_pretrained", lambda *_, **__: backend)
    with pytest.raises(ModelError, match="set tokenizer_class to PreTrainedTokenizerFast"):
        loaded(embedded_folder)


def no_template(source: Path, folder: Path) -> Path:
    tokenizer_copy(source, folder, chat_template=None)
    (folder / "chat_template.jinja").unlink(missing_ok=True)
    return folder


TOOL_USE = PLAIN + "{{ tools }}"
NAMED = {"default": PLAIN, "tool_use": TOOL_USE}


def write_form(folder: Path, form: str) -> None:
    """Write the templates in one of the forms that transformers reads."""
    config = folder / "tokenizer_config.json"
    content = json.loads(config.read_text(encoding="utf-8"))
    if form == "string":
        content["chat_template"] = PLAIN
    elif form == "list":
        content["chat_template"] = [{"name": name, "template": text} for name, text in NAMED.items()]
    else:
        (folder / "chat_template.jinja").write_text(PLAIN, encoding="utf-8")
    if form == "files":
        (folder / "additional_chat_templates").mkdir()
        (folder / "additional_chat_templates" / "tool_use.jinja").write_text(TOOL_USE, encoding="utf-8")
    config.write_text(json.dumps(content), encoding="utf-8")


@pytest.mark.parametrize(("form", "named"), [("string", False), ("file", False), ("list", True), ("files", True)])
def test_a_template_loads_in_every_form_and_survives_saving(
    form: str, named: bool, embedded_folder: Path, tmp_path: Path
) -> None:
    folder = no_template(embedded_folder, tmp_path / form)
    write_form(folder, form)
    cfg = load_config(QUICKSTART, [f"model.base_model_name={folder}"])
    tokenizer = load_tokenizer(cfg)
    assert tokenizer.chat_template == (NAMED if named else PLAIN)
    assert tokenizer.get_chat_template(tools=[{}]) == (TOOL_USE if named else PLAIN)
    tokenizer.save_pretrained(tmp_path / "saved")
    again = load_tokenizer(cfg, folder=tmp_path / "saved")
    assert again.chat_template == tokenizer.chat_template


def test_named_templates_without_a_default_are_refused_with_their_names(embedded_folder: Path, tmp_path: Path) -> None:
    folder = no_template(embedded_folder, tmp_path / "named")
    write_form(folder, "files")
    (folder / "chat_template.jinja").unlink()
    with pytest.raises(ModelError, match=r"templates named tool_use, but none named default; set model\.chat_"):
        loaded(folder)
    assert loaded(folder, with_template(tmp_path, PLAIN)).chat_template == PLAIN


def test_a_template_that_is_not_text_is_refused(embedded_folder: Path, tmp_path: Path) -> None:
    folder = no_template(embedded_folder, tmp_path / "number")
    config = folder / "tokenizer_config.json"
    content = {**json.loads(config.read_text(encoding="utf-8")), "chat_template": 5}
    config.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(ModelError, match="chat template is not text"):
        loaded(folder)


def test_the_template_of_a_processor_is_named_in_the_error(embedded_folder: Path, tmp_path: Path) -> None:
    folder = no_template(embedded_folder, tmp_path / "processor")
    (folder / "chat_template.json").write_text(json.dumps({"chat_template": PLAIN}), encoding="utf-8")
    with pytest.raises(ModelError, match=r"no chat template; transformers reads chat_template\.json only for"):
        loaded(folder)


@pytest.mark.parametrize(("name", "indent"), [("gemma3", "  "), ("llama3_1", ""), ("mistral_nemo", "")])
def test_a_template_without_bos_gets_it_if_the_tokenizer_begins_every_text_with_it(
    name: str, indent: str, tmp_path: Path
) -> None:
    folder = packaged_tokenizer_folder(name)
    tokenizer = loaded(folder, with_template(tmp_path, indent + PLAIN))
    text = tokenizer.apply_chat_template(HELLO, tokenize=False)
    assert text == f"{tokenizer.bos_token}user: Hello\n"
    assert tokenizer(text, add_special_tokens=False)["input_ids"].count(tokenizer.bos_token_id) == 1
    tokenizer.save_pretrained(tmp_path / "saved")
    again = load_tokenizer(load_config(QUICKSTART), folder=tmp_path / "saved")
    assert again.apply_chat_template(HELLO, tokenize=False) == text


@pytest.mark.parametrize(
    "template",
    [
        "{{ bos_token }}" + PLAIN,
        "<bos>" + PLAIN,
        "{% set start = bos_token if tools else '' %}{{ start }}" + PLAIN,
        "{% if not plain %}{{ bos_token }}{% endif %}" + PLAIN,
        "{{ raise_exception('not here') }}",
        "{% if %}",
    ],
)
def test_a_template_that_writes_the_bos_itself_or_cannot_be_read_stays_the_same(template: str, tmp_path: Path) -> None:
    tokenizer = loaded(packaged_tokenizer_folder("gemma3"), with_template(tmp_path, template))
    assert tokenizer.chat_template == template


def test_the_configured_template_arguments_decide_whether_the_bos_is_written(tmp_path: Path) -> None:
    template = "{% if not plain %}{{ bos_token }}{% endif %}" + PLAIN
    keys = (with_template(tmp_path, template), "data.chat_template_kwargs={plain: true}")
    tokenizer = loaded(packaged_tokenizer_folder("gemma3"), *keys)
    assert tokenizer.apply_chat_template(HELLO, tokenize=False, plain=True) == "<bos>user: Hello\n"


@pytest.mark.parametrize("name", ["qwen2_5", "qwen3"])
def test_a_tokenizer_that_adds_no_bos_keeps_the_template(name: str, tmp_path: Path) -> None:
    template = stock_template("qwen3_instruct_2507")
    tokenizer = loaded(packaged_tokenizer_folder(name), with_template(tmp_path, template))
    assert tokenizer.chat_template == template
