"""Wrong configurations: what is set over the quickstart, and what the refusal says. All are refused without torch."""

from typing import NamedTuple


class Wrong(NamedTuple):
    """Overrides of one wrong configuration, the key of the refusal and a part of its text."""

    overrides: tuple[str, ...]
    key: str
    text: str


def _train(key: str, value: str, text: str, *more: str, at: str = "") -> Wrong:
    return Wrong((f"train.{key}={value}", *(f"train.{one}" for one in more)), f"train.{at or key}", text)


_STEPS = ("eval_strategy=steps", "eval_steps=2", "save_strategy=steps")

NUMBERS = [
    _train("learning_rate", "0", "got 0; must be above 0"),
    _train("learning_rate", "-2e-4", "got -0.0002; must be above 0"),
    _train("learning_rate", ".nan", "got nan; must be above 0"),
    _train("learning_rate", ".inf", "got inf; must be above 0 and at most 10; LoRA usually takes 1e-5 to 1e-3"),
    _train("learning_rate", "200", "at most 10"),
    _train("learning_rate", "fast", "got 'fast'; must be a valid number"),
    _train("weight_decay", "-0.1", "at least 0"),
    _train("adam_beta1", "1", "got 1; must be at least 0 and below 1; the usual value is 0.9"),
    _train("adam_beta2", "1.5", "the usual value is 0.999"),
    _train("adam_epsilon", "0", "the usual value is 1e-8"),
    _train("max_grad_norm", "-1", "0 turns clipping off"),
    _train("num_train_epochs", "0", "use train.max_steps for a short trial"),
    _train("num_train_epochs", "-3", "got -3; must be above 0"),
    _train("max_steps", "-5", "at least 1, or -1"),
    _train("max_steps", "2.5", "must be a valid integer"),
    _train("max_steps", "true", "got True; must be a number"),
    _train("per_device_train_batch_size", "0", "got 0; must be at least 1"),
    _train("per_device_eval_batch_size", "-1", "got -1; must be at least 1"),
    _train("gradient_accumulation_steps", "0", "1 makes an optimizer step after every batch"),
    _train("warmup_ratio", "1.5", "got 1.5; must be less than or equal to 1"),
    _train("warmup_ratio", "-0.1", "must be greater than or equal to 0"),
    _train("warmup_steps", "-1", "must be 0 (no warm-up)", "warmup_ratio=0"),
    _train("warmup_steps", "10.5", "a whole number of steps", "warmup_ratio=0"),
    _train("logging_steps", "0", "must be above 0: a share of all steps"),
    _train("logging_steps", "1.5", "got 1.5; must be above 0"),
    _train("eval_steps", "-1", "got -1; must be above 0"),
    _train("eval_steps", "2.5", "a share of all steps (below 1), or a whole number", "eval_strategy=steps"),
    _train("save_steps", "0", "got 0; must be above 0", "save_strategy=steps"),
    _train("save_steps", ".nan", "got nan; must be a finite number"),
    _train("eval_delay", "-1", "at least 0"),
    _train("save_total_limit", "0", "remove the key to keep all checkpoints"),
    _train("label_smoothing_factor", "1", "at least 0 and below 1; 0 turns it off"),
    _train("neftune_noise_alpha", "-5", "remove the key to turn it off"),
    _train("torch_empty_cache_steps", "0", "remove the key to never empty the cache"),
    _train("dataloader_num_workers", "-2", "0 loads rows in the main process"),
    _train("dataloader_prefetch_factor", "0", "got 0; must be at least 1", "dataloader_num_workers=2"),
    _train("seed", "-1", "from 0 to 4294967295"),
    _train("seed", "99999999999", "the default is 42"),
    _train("data_seed", "-1", "remove the key to use train.seed"),
    _train("ddp_timeout", "0", "in seconds; the default is 1800"),
    _train("ddp_bucket_cap_mb", "0", "remove the key for torch's default"),
    _train("early_stopping", "0", "greater than or equal to 1"),
    _train("packing", "maybe", "packing"),
    _train("max_tokens_per_batch", "0", "greater than or equal to 1"),
]

NAMES = [
    _train("optim", "adamw_hf", "got 'adamw_hf'; did you mean adamw"),
    _train("optim", "adam8bit", "did you mean adamw_8bit?"),
    _train("lr_scheduler_type", "cosin", "got 'cosin'; did you mean cosine?"),
    _train("lr_scheduler_type", "wavy", "must be one of linear, cosine"),
    _train("eval_strategy", "step", "did you mean steps?"),
    _train("eval_strategy", "sometimes", "must be one of no, steps, epoch"),
    _train("eval_strategy", "no", 'write "no"'),
    _train("save_strategy", "epochs", "did you mean epoch?"),
    _train("logging_strategy", "stepps", "did you mean steps?"),
    _train("hub_strategy", "every-save", "did you mean every_save?"),
    _train("train_sampling_strategy", "group_by_len", "did you mean group_by_length?"),
    _train("ddp_backend", "ncll", "did you mean nccl?"),
    _train("dataloader_multiprocessing_context", "forks", "did you mean fork?"),
    _train("log_level", "warn", "did you mean warning?"),
    _train("torch_compile_mode", "max-autotun", "did you mean max-autotune?", "torch_compile=true"),
    _train("include_num_input_tokens_seen", "nonpadding", "did you mean non_padding?"),
    _train("debug", "underflow", "did you mean underflow_overflow?"),
    _train("report_to", "mlflow", "must be one of wandb, tensorboard, trackio, none"),
    _train("metric_for_best_model", "tool_f1", "no evaluation measures 'tool_f1'; did you mean"),
    _train("lr_scheduler_kwargs", "{num_cycle: 2}", "cosine has no option 'num_cycle'; did you mean num_cycles?"),
    _train("lr_scheduler_kwargs", "{power: 2}", "linear takes no options", "lr_scheduler_type=linear"),
    _train("lr_scheduler_type", "cosine_with_min_lr", "set {min_lr_rate: 0.1}", at="lr_scheduler_kwargs"),
    _train("lr_scheduler_type", "warmup_stable_decay", "set {num_decay_steps: 100}", at="lr_scheduler_kwargs"),
    _train("optim_args", "'momentum 0.9'", "must have the form name=value"),
    Wrong(("model.attn_implementation=flash_attention2",), "model.attn_implementation", "flash_attention_2?"),
    Wrong(("model.torch_dtype=bf16",), "model.torch_dtype", "must be 'auto', 'bfloat16'"),
]

COMBINATIONS = [
    _train("max_tokens_per_batch", "4096", "which counts rows; keep one of them", "per_device_train_batch_size=2"),
    _train("max_tokens_per_batch", "4096", "needs packed rows", "packing=false"),
    _train("bf16", "true", "set together with train.bf16", "fp16=true", at="fp16"),
    Wrong(("train.fp16=true", "model.torch_dtype=bfloat16"), "train.fp16", "model.torch_dtype=float16"),
    _train("gradient_checkpointing_kwargs", "{use_reentrant: false}", "without train.gradient_checkpointing"),
    _train("torch_compile_mode", "default", "although train.torch_compile is false", "torch_compile=false"),
    _train("liger_kernel_config", "{rope: true}", "without train.use_liger_kernel"),
    _train("warmup_steps", "10", "beside train.warmup_ratio 0.05; keep one", "warmup_ratio=0.05"),
    _train("warmup_steps", "50", "ends after train.max_steps=20", "warmup_ratio=0", "max_steps=20"),
    _train("lr_scheduler_type", "constant", "constant_with_warmup", "warmup_ratio=0.05", at="warmup_ratio"),
    _train("save_strategy", "best", "best needs evaluations during training", "eval_strategy='no'"),
    _train("load_best_model_at_end", "true", "needs evaluations and checkpoints", at="eval_strategy"),
    _train(
        "load_best_model_at_end",
        "true",
        "needs evaluations and checkpoints",
        "eval_strategy=epoch",
        "save_strategy='no'",
        at="save_strategy",
    ),
    _train(
        "load_best_model_at_end",
        "true",
        "needs the train.eval_strategy, epoch",
        "eval_strategy=epoch",
        "save_strategy=steps",
        at="save_strategy",
    ),
    _train(
        "load_best_model_at_end",
        "true",
        "not a multiple of train.eval_steps (2)",
        *_STEPS,
        "save_steps=3",
        at="save_steps",
    ),
    _train("load_best_model_at_end", "true", "both as a share", *_STEPS, "save_steps=0.5", at="save_steps"),
    _train(
        "load_best_model_at_end",
        "true",
        "no checkpoint is saved",
        *_STEPS,
        "save_steps=8",
        "max_steps=6",
        at="save_steps",
    ),
    _train("greater_is_better", "true", "perplexity is better if it is lower", "metric_for_best_model=perplexity"),
    _train("early_stopping", "3", "needs evaluations during training", "eval_strategy='no'"),
    _train("lr_scheduler_type", "reduce_lr_on_plateau", "needs evaluations", "eval_strategy='no'"),
    _train("lr_scheduler_type", "greedy", "greedy needs evaluations", "eval_strategy='no'"),
    _train("dataloader_prefetch_factor", "2", "needs worker processes"),
    _train("dataloader_persistent_workers", "true", "needs worker processes"),
    _train("optim", "galore_adamw", "needs the modules to project", at="optim_target_modules"),
    _train(
        "optim",
        "apollo_adamw_layerwise",
        "set it to 1",
        "gradient_accumulation_steps=4",
        at="gradient_accumulation_steps",
    ),
    _train("deepspeed", "{zero_optimization: {stage: 2}}", "both shard the model", "fsdp=full_shard", at="fsdp"),
    _train("auto_find_batch_size", "true", "of one process only", "fsdp=full_shard"),
    _train("push_to_hub", "true", "needs the repository's name: owner/name", at="hub_model_id"),
    _train("save_only_model", "true", "cannot be resumed", "resume_from_checkpoint=true"),
]

UNUSED = [
    _train("eval_accumulation_steps", "4", "keeps no logits; remove the key"),
    _train("batch_eval_metrics", "true", "no metrics per batch"),
    _train("include_for_metrics", "[inputs]", "calls no compute_metrics"),
    _train("prediction_loss_only", "true", "set data.n_tool_sessions_eval=0"),
    _train("eval_do_concat_batches", "false", "joins no batches"),
    _train("eval_use_gather_object", "true", "gathers its results already"),
    _train("bf16_full_eval", "true", "set model.torch_dtype=bfloat16"),
    _train("fp16_full_eval", "true", "set model.torch_dtype=float16"),
    _train("label_names", "[target]", "labels in the column labels"),
    _train("remove_unused_columns", "true", "needs the columns that it would remove"),
    _train("length_column_name", "n_tokens", "length in the column length"),
    _train("do_predict", "true", "use `tool-sft eval`"),
]

OLD_KEYS = [
    _train("group_by_length", "true", "train.train_sampling_strategy: group_by_length"),
    _train("evaluation_strategy", "steps", "its new name is train.eval_strategy"),
    _train("no_cuda", "true", "its new name is train.use_cpu"),
    _train("per_gpu_train_batch_size", "4", "train.per_device_train_batch_size"),
    _train("max_seq_length", "2048", "use data.max_context_length"),
    _train("predict_with_generate", "true", "the evaluation always decodes"),
    _train("half_precision_backend", "auto", "train.bf16 and train.fp16 decide"),
    _train("logging_dir", "logs", "TENSORBOARD_LOGGING_DIR"),
    _train("early_stopping_patience", "3", "here it is train.early_stopping"),
    Wrong(("model.load_in_4bit=true",), "model.load_in_4bit", "model.quantization: 4bit"),
    Wrong(("lora.lora_alpha=16",), "lora.lora_alpha", "here it is lora.alpha"),
    Wrong(("lora.modules_to_save=[lm_head]",), "lora.modules_to_save", "cannot be served as an adapter"),
    Wrong(("data.max_length=512",), "data.max_length", "use data.max_context_length"),
]

PACKAGES = [
    _train(
        "optim", "paged_adamw_8bit", "needs bitsandbytes, which is not installed; run `uv sync --extra quantization`"
    ),
    _train("optim", "adamw_torch_8bit", "run `uv pip install torchao`"),
    _train("optim", "galore_adamw", "run `uv pip install galore-torch`", "optim_target_modules=all-linear"),
    _train("optim", "apollo_adamw", "run `uv pip install apollo-torch`", "optim_target_modules=all-linear"),
    _train("optim", "adalomo", "run `uv pip install lomo-optim`"),
    _train("optim", "grokadamw", "run `uv pip install grokadamw`"),
    _train("optim", "schedule_free_adamw", "run `uv pip install schedulefree`"),
    _train("optim", "stable_adamw", "run `uv pip install torch-optimi`"),
    _train("use_liger_kernel", "true", "run `uv pip install liger-kernel`"),
    _train("deepspeed", "{zero_optimization: {stage: 2}}", "run `uv pip install deepspeed`"),
    _train("report_to", "trackio", "uv sync --extra trackio"),
    Wrong(("model.attn_implementation=flash_attention_2",), "model.attn_implementation", "flash-attn"),
    Wrong(("model.attn_implementation=kernels-community/flash-attn3",), "model.attn_implementation", "install kernels"),
    Wrong(("model.quantization=4bit",), "model.quantization", "run `uv sync --extra quantization`"),
    Wrong(("model.base_model_name=package:nowhere",), "model.base_model_name", "the package is not installed"),
]

FILES = [
    Wrong(("data.tools_path=nowhere.json",), "data.tools_path", "cannot be read"),
    Wrong(("data.tools_path=README.md",), "data.tools_path", "not valid JSON"),
    Wrong(("data.tools_path={tmp}/object.json",), "data.tools_path", "non-empty list of tools"),
    Wrong(("data.sysprompt_path=nowhere.md",), "data.sysprompt_path", "cannot be read"),
    Wrong(("data.sysprompt_path={tmp}/empty.md",), "data.sysprompt_path", "is empty"),
    Wrong(("model.chat_template_path=nowhere.jinja",), "model.chat_template_path", "cannot be read"),
    Wrong(("model.chat_template_path={tmp}/bad.jinja",), "model.chat_template_path", "is not a Jinja template"),
    _train("deepspeed", "nowhere.json", "nowhere.json cannot be read"),
    _train("fsdp_config", "README.md", "is not valid JSON", "fsdp=full_shard"),
    _train("accelerator_config", "{tmp}/list.json", "must hold a JSON object"),
    _train("output_dir", "README.md/run", "is a file; name a folder"),
    _train("output_dir", "{tmp}/full", "is not empty", "overwrite_output_dir=false"),
    Wrong(("data.load_module=no_such_domain",), "data.load_module", "there is no package no_such_domain"),
    Wrong(("data.load_module=json",), "data.load_module", "has no build_datasets"),
    Wrong(("data.tokenizer=./nowhere",), "data.tokenizer", "./nowhere does not exist"),
    Wrong(("model.base_model_name=./nowhere",), "model.base_model_name", "./nowhere does not exist"),
    Wrong(
        ("lora.target_modules=all-linear", "lora.r=999999999", "train.save_strategy=epoch"),
        "train.output_dir",
        "GB are free",
    ),
]

TARGETS = [
    Wrong(("lora.target_modules=[]",), "lora.target_modules", "names no module"),
    Wrong(("lora.target_modules='*_proj'",), "lora.target_modules", "not a regular expression"),
    Wrong(("lora.target_modules=all_linear",), "lora.target_modules", "did you mean all-linear?"),
    Wrong(("lora.target_modules='q_proj,v_proj'",), "lora.target_modules", "give a list: [q_proj, v_proj]"),
    Wrong(("lora.target_modules=[q_proj, lm_head]",), "lora.target_modules", "lm_head: this model's output head"),
    Wrong(("lora.target_modules=[q_proj, embed_tokens]",), "lora.target_modules", "embed_tokens: this model's"),
    Wrong((r"lora.target_modules='.*(q_proj|lm_head)'",), "lora.target_modules", "cannot be merged or served"),
]

WRONG = [*NUMBERS, *NAMES, *COMBINATIONS, *UNUSED, *OLD_KEYS, *PACKAGES, *FILES, *TARGETS]
