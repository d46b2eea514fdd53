"""Errors that a user can cause and fix. Each message says where the problem is, what it is and what to do.

Scripts print the message without a traceback and exit with code 2. Any other exception is a bug in this project
and keeps its traceback.
"""


class ToolSftError(Exception):
    """Base class of every error that this project raises on purpose."""


class ConfigError(ToolSftError, ValueError):
    """The run configuration is missing, malformed or contradictory."""


class DataError(ToolSftError, ValueError):
    """A dataset, a row, a tool specification or a prompt template is invalid."""


class TemplateError(ToolSftError, ValueError):
    """A chat template cannot express the conversation, or a row's supervised tokens cannot be proven correct."""


class ModelError(ToolSftError, ValueError):
    """The base model, its tokenizer or the adapter settings do not fit together."""


class FormatError(ToolSftError, ValueError):
    """A tool-call format is unknown, ambiguous, or cannot express the calls of the data."""


class OutputError(ToolSftError, OSError):
    """The output folder is in use or cannot be written."""


class TrainingError(ToolSftError, ArithmeticError):
    """Training produced numbers that are not finite."""


class RunInterrupted(KeyboardInterrupt):
    """A run stopped because it was asked to. `exit_code` is the program's exit code."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class EndpointError(ToolSftError, OSError):
    """A server cannot be reached, or does not offer what was requested."""
