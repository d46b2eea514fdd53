"""Known secrets are replaced in every form in which files and messages write them; other text stays as it is."""

import html
import json
import logging
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest
import yaml

from trainer.errors import DataError
from trainer.util.cli import api_key, exit_code
from trainer.util.files import replace_file, replace_json, whole_file
from trainer.util.secrets import (
    hide,
    hide_headers,
    holds_secret,
    is_secret_name,
    remember,
    remember_address,
    remember_in,
    remember_words,
    without_secrets,
)

ODD = 'pä"ss\\wo&rd/<1>'
WRITERS: tuple[Callable[[str], str], ...] = (
    str,
    json.dumps,
    lambda text: json.dumps(text, ensure_ascii=False),
    lambda text: json.dumps({"arguments": json.dumps({"key": text})}),
    lambda text: quote(text, safe=""),
    lambda text: quote(text),
    quote_plus,
    lambda text: quote(text, safe="").lower(),
    html.escape,
    repr,
    lambda text: yaml.safe_dump({"key": text}, allow_unicode=True),
)


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("secret", ["hf_abcdefgh", "it's a secret", ODD])
def test_a_secret_is_hidden_in_every_form(writer: Callable[[str], str], secret: str) -> None:
    written = writer(secret)
    assert hide(written) == written
    remember(secret)
    hidden = hide(f"before {written} after")
    assert "***" in hidden
    assert hidden.startswith("before ")
    assert hidden.endswith(" after")
    assert written.strip("\"'") not in hidden


def test_short_values_and_other_text_stay() -> None:
    remember("EMPTY", None, "")
    assert hide("an EMPTY list of tokens") == "an EMPTY list of tokens"


@pytest.mark.parametrize("name", ["HF_TOKEN", "WANDB_API_KEY", "MY_SECRET", "DB_PASSWORD", "HUGGING_FACE_HUB_TOKEN"])
def test_the_environment_is_known_without_registering(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "value-123456")
    monkeypatch.setenv("SHORT_KEY", "seven-7")
    monkeypatch.setenv("KEYBOARD", "value-of-another-kind")
    assert hide("value-123456 seven-7 value-of-another-kind") == "*** seven-7 value-of-another-kind"


def test_a_password_in_an_address_of_the_environment_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://ann:proxy-pass@proxy:3128")
    assert hide("proxy-pass failed") == "*** failed"


def test_addresses_hide_password_query_and_basic_credentials() -> None:
    remember_address("https://ann:p%40ssword@host/v1?api_key=query-key-1&model=x")
    told = hide("p%40ssword p@ssword query-key-1 host x YW5uOnBAc3N3b3Jk")
    assert told == "*** *** *** host x ***"


def test_names_that_have_secrets() -> None:
    named = ("hub_token", "push_to_hub_token", "api_key", "apiKey", "wandb.key", "client_secret", "--password", "token")
    assert all(is_secret_name(name) for name in named)
    others = ("eos_token", "pad_token", "num_tokens", "tokenizer", "keys", "monkey", "average_tokens_across_devices")
    assert not any(is_secret_name(name) for name in others)


def test_nested_mappings_json_text_and_command_lines_are_read() -> None:
    remember_in({"deepspeed": {"comet": {"api_key": "nested-key-1"}}, "fsdp": '{"auth_token": "json-token-1"}'})
    remember_words(
        ["--api-key", "option-key-1", "--set", "train.hub_token=set-token-1", "--extra", '{"key": "body-key-1"}']
    )
    remember_words(["--token", "--config"])
    remember_words([])
    text = "nested-key-1 json-token-1 option-key-1 set-token-1 body-key-1 --config"
    assert hide(text) == "*** *** *** *** *** --config"


def test_secret_keys_are_left_out_at_every_depth() -> None:
    given = {"seed": 1, "hub_token": "x", "deepspeed": {"monitor": [{"api_key": "y", "team": "z"}]}}
    assert without_secrets(given) == {"seed": 1, "deepspeed": {"monitor": [{"team": "z"}]}}


def test_files_are_written_without_secrets_and_stay_json(tmp_path: Path) -> None:
    remember(ODD)
    replace_json(tmp_path / "a.json", {"error": f"refused {ODD}", "n": 1})
    replace_file(tmp_path / "b.txt", f"key {ODD}\n")
    with whole_file(tmp_path / "c.txt") as file:
        file.writelines([f"{ODD}\n", "next\n"])
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == {"error": "refused ***", "n": 1}
    assert (tmp_path / "b.txt").read_text(encoding="utf-8") == "key ***\n"
    assert (tmp_path / "c.txt").read_text(encoding="utf-8") == "***\nnext\n"


def test_binary_content_is_searched() -> None:
    remember("pickled-token")
    assert holds_secret(b"\x80\x02pickled-token\x00")
    assert not holds_secret(b"\x80\x02pickled\x00")


def test_credentials_of_a_header_are_hidden_even_if_unknown() -> None:
    assert hide_headers('{"Authorization": "Bearer abc"}') == '{"Authorization": "Bearer ***"}'


def test_a_command_prints_logs_and_fails_without_secrets(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    remember("leaky-token")
    caplog.set_level("INFO")
    with exit_code() as code:
        print("out leaky-token")
        logging.getLogger("trainer.x").info("own %s", "leaky-token")
        logging.getLogger("another.package").warning("other %s", "leaky-token")
        raise RuntimeError("bug with leaky-token")
    told = capsys.readouterr()
    assert code.value == 1
    assert told.out == "out ***\n"
    assert "RuntimeError: bug with ***" in told.err
    assert "leaky" not in told.out + told.err + caplog.text
    assert "other ***" in caplog.text


def test_a_traceback_without_secrets_is_left_to_python() -> None:
    with pytest.raises(RuntimeError, match="plain bug"), exit_code():
        raise RuntimeError("plain bug")


def test_a_key_given_as_the_name_of_its_variable_is_not_repeated(capsys: pytest.CaptureFixture[str]) -> None:
    with exit_code() as code:
        api_key("sk-the-key-itself")
    assert code.value == 2
    told = capsys.readouterr().err
    assert "takes the name of an environment variable" in told
    assert "sk-the" not in told


def test_a_mistake_of_the_user_is_shown_without_secrets(capsys: pytest.CaptureFixture[str]) -> None:
    remember("leaky-token")
    with exit_code() as code:
        raise DataError("row 1: leaky-token")
    assert code.value == 2
    assert capsys.readouterr().err == "error: row 1: ***\n"
