"""The run configuration: one strict schema for one YAML file. Reads no file and imports no torch.

A section's keys can be read as attributes (`cfg.data.timezone`) or as items (`cfg["data"]["timezone"]`).
"""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr

PositiveInt = Annotated[int, Field(ge=1)]
Fraction = Annotated[float, Field(ge=0.0, lt=1.0)]
Revision = Annotated[str, Field(pattern=r"^\S+$")]

BUILTIN_GUARD = "builtin"
"""The value of `eval.guard_dataset` for the conversations that this package brings."""

OWN_TRAIN_KEYS: dict[str, Any] = {
    "warmup_ratio": Annotated[float, Field(ge=0, le=1)],
    "overwrite_output_dir": bool,
    "early_stopping": PositiveInt | None,
    "packing": Literal["auto"] | bool,
    "max_tokens_per_batch": PositiveInt | None,
    "recipe": Literal["auto", "none"],
    "loss_weighting": Literal["token", "turn", "decision"],
}
"""Keys of `train` that TrainingArguments does not have (any more): two that it removed, and this project's own."""

TRAIN_DEFAULTS: dict[str, Any] = {
    "output_dir": "runs/default",
    "report_to": "none",
    "remove_unused_columns": False,
    "train_sampling_strategy": "group_by_length",
}
"""The defaults that differ from those of TrainingArguments."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())

    def __getitem__(self, key: str) -> Any:
        if key not in type(self).model_fields:
            raise KeyError(key)
        return getattr(self, key)


class SourceConfig(_Section):
    """One of several datasets. What is left out is taken from `data`."""

    dataset_name: str = Field(description="hub id, local folder or local file")
    revision: Revision | None = Field(None, description="branch, tag or commit of a hub dataset; default: main")
    train_split: str | None = Field(None, description="split to train on; default: data.train_split")
    eval_split: str | None = Field(None, description="split to evaluate on; default: data.eval_split")
    layout: str | dict[str, str] | None = Field(None, description="chat_rows: layout; default: data.layout")
    weight: Annotated[float, Field(gt=0, le=100)] = Field(
        1.0, description="how often a training session is used; 0.5: half of them, chosen by their ids; 2: each twice"
    )
    max_sessions: PositiveInt | None = Field(None, description="most training sessions to use, chosen by their ids")


class DataConfig(_Section):
    """Where sessions come from, and how they become rows of tokens."""

    load_module: str = Field(
        description="Python package of the domain, with a function build_datasets(cfg); chat_rows needs no code",
        pattern=r"^[^\W\d]\w*(\.[^\W\d]\w*)*$",
    )
    dataset_name: str | None = Field(
        None, description="hub id, local folder or local file, as `datasets` loads it; required without data.sources"
    )
    revision: Revision | None = Field(None, description="branch, tag or commit of a hub dataset; default: main")
    sources: list[SourceConfig] = Field(
        default_factory=list, description="several datasets instead of dataset_name, with weights or caps"
    )
    train_split: str = Field("train", description="split to train on; slices such as train[:100] work")
    eval_split: str = Field("test", description="split to evaluate on")
    timezone: str = Field("UTC", description="IANA time zone of the date and time in the system prompt")
    layout: str | dict[str, str] | None = Field(
        None, description="chat_rows: name of the rows' layout, or its name and columns; default: recognized"
    )
    system_prompt: list[Literal["row", "file"]] | None = Field(
        None, description="chat_rows: parts of the system prompt, in order; default: the row's, else the file's"
    )
    holdout: Fraction = Field(0.1, description="share of the sessions to evaluate on if the data has no eval_split")
    selection_share: Literal["auto"] | Fraction = Field(
        "auto",
        description="share of the training sessions held out to choose the checkpoint, to stop early and to calibrate "
        "calls; auto: 0.1, at least 5, if the run chooses anything and has 30 sessions",
    )
    on_bad_row: Literal["error", "drop"] = Field(
        "error", description="what to do with rows that have errors: stop before training, or drop and count them"
    )
    sysprompt_path: Path | None = Field(None, description="system prompt template (Markdown); optional for chat_rows")
    tools_path: Path | None = Field(None, description="tool schemas (JSON list in OpenAI form); optional for chat_rows")
    tokenizer: str | None = Field(None, description="tokenizer for preparing rows; default: the base model's")
    tokenizer_revision: Revision | None = Field(
        None, description="branch, tag or commit of the tokenizer; default: model.revision if it is the base model's"
    )
    chat_template_kwargs: dict[str, Any] | None = Field(
        None,
        description="keyword arguments for the chat template; default: enable_thinking false if the template uses it",
    )
    max_context_length: PositiveInt = Field(8192, description="maximum length of a row, in tokens")
    drop_oversized: bool = Field(True, description="drop longer rows and count them; false: train on them in full")
    n_tool_sessions_eval: Annotated[int, Field(ge=0)] = Field(64, description="sessions judged for tool calls")
    num_proc: PositiveInt | None = Field(None, description="worker processes for data preparation")

    def all_sources(self) -> tuple[SourceConfig, ...]:
        """The datasets to read, one or several, with the defaults of this section filled in."""
        given = self.sources or [SourceConfig(dataset_name=self.dataset_name or "", revision=self.revision)]
        shared = {key: getattr(self, key) for key in ("train_split", "eval_split", "layout")}
        return tuple(
            source.model_copy(update={key: value for key, value in shared.items() if source[key] is None})
            for source in given
        )


class ModelConfig(_Section):
    """Which base model to load, and how."""

    base_model_name: str = Field(description="hub id, local folder, or package:NAME for a model in a Python package")
    revision: Revision | None = Field(None, description="branch, tag or commit of a hub model; default: main")
    torch_dtype: Literal["auto", "bfloat16", "float16", "float32"] = Field(
        "auto", description="auto: bfloat16 if the hardware supports it natively, else float32"
    )
    pad_token_fallback: str = Field("eos", description="pad token if the tokenizer has none: eos, unk or a token")
    chat_template_path: Path | None = Field(None, description="Jinja chat template to use instead of the tokenizer's")
    attn_implementation: str | None = Field(None, description="attention implementation, e.g. sdpa, flash_attention_2")
    trust_remote_code: bool = Field(False, description="run Python code that comes with the model")
    quantization: Literal["4bit", "8bit"] | None = Field(None, description="QLoRA with bitsandbytes (GPU only)")


class LoraConfig(_Section):
    """The adapter (Hu et al. 2021, LoRA)."""

    r: PositiveInt = Field(16, description="rank")
    alpha: PositiveInt = Field(32, description="scale; updates are multiplied by alpha / r")
    dropout: Fraction = Field(0.0, description="dropout on the adapter's input")
    target_modules: list[str] | str = Field(
        "all-linear", description="linear modules to adapt: a list of names, a regular expression, or all-linear"
    )
    bias: Literal["none", "all", "lora_only"] = Field("none", description="which biases to train")
    task_type: Literal["CAUSAL_LM"] = Field("CAUSAL_LM", description="task type for peft")


class EvalConfig(_Section):
    """How tool calls are judged during and after training."""

    max_new_tokens_eval: PositiveInt = Field(256, description="maximum length of an answer, in tokens")
    temperature: Annotated[float, Field(ge=0)] = Field(0.0, description="0: greedy")
    evaluate_base: bool = Field(True, description="also judge the base model before training")
    calibrate_calls: bool = Field(
        True,
        description="after training, choose a bias on the first token of a call if that lowers the rates of missed and "
        "hallucinated calls on training sessions that were held out",
    )
    call_tradeoff: Annotated[float, Field(gt=0, le=1000)] = Field(
        1.0, description="what the rate of hallucinated calls counts beside that of missed calls, for calibrate_calls"
    )
    tool_call_format: str = Field(
        "auto", description="tool-call format of the model; auto: detected from the chat template"
    )
    guard_dataset: Annotated[str, Field(min_length=1)] | None = Field(
        BUILTIN_GUARD,
        description="conversations without tools, judged before and after training: hub id, local folder or file, or "
        "builtin; null: none",
    )


class Config(_Section):
    """A whole run. `train` takes every key of the installed TrainingArguments; `run` is merged over it."""

    data: DataConfig
    model: ModelConfig
    lora: LoraConfig = LoraConfig()
    train: dict[str, Any] = Field(default_factory=dict)
    run: dict[str, Any] = Field(default_factory=dict)
    eval: EvalConfig = EvalConfig()

    _path: Path | None = PrivateAttr(default=None)

    @property
    def path(self) -> Path | None:
        """The file that the configuration was read from."""
        return self._path

    @property
    def output_dir(self) -> Path:
        """The run folder."""
        return Path(self.train["output_dir"])

    @property
    def seed(self) -> int:
        """Seed of adapter initialisation, data order and sampling."""
        return int(self.train.get("seed", 42))

    @property
    def tokenizer_name(self) -> str:
        """Hub id or folder of the tokenizer."""
        return self.data.tokenizer or self.model.base_model_name

    @property
    def tokenizer_revision(self) -> str | None:
        """Branch, tag or commit of the tokenizer: that of the base model if they are in one repository."""
        if self.data.tokenizer_revision is not None:
            return self.data.tokenizer_revision
        return self.model.revision if self.tokenizer_name == self.model.base_model_name else None
