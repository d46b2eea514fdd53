"""The names of the files of a run folder, once."""

SERVED_FOLDER = "served"
"""Where, in a run folder, evaluations of servers lie. One may be there before the run: that of the base model."""

PREDICTIONS_FILE = "predictions.jsonl"
REQUEST_FILE = "request.json"
RUN_CONFIG = "config.resolved.yaml"
RUN_FILES = (RUN_CONFIG, "metrics.json", "report.md")
