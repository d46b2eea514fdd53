"""Errors that a user can cause and mend. Each carries one message that says where, what and what to do.

Scripts print the message without a traceback and exit with code 2; anything else is a defect of ours
and keeps its traceback.
"""


class ToolSftError(Exception):
    """Base of every error that this project raises on purpose."""


class ConfigError(ToolSftError, ValueError):
    """The run configuration is missing, malformed or contradicts itself."""


class DataError(ToolSftError, ValueError):
    """A dataset, a row, a tool specification or a prompt template is not what it has to be."""


class TemplateError(ToolSftError, ValueError):
    """A chat template cannot express the conversation, or a row's supervised tokens cannot be proven."""


class ModelError(ToolSftError, ValueError):
    """The base model, its tokenizer or the adapter settings do not fit together."""


class FormatError(ToolSftError, ValueError):
    """A tool-call format is unknown, ambiguous, or cannot carry the calls of the data."""


class OutputError(ToolSftError, OSError):
    """The output folder is in use or cannot be written."""


class EndpointError(ToolSftError, OSError):
    """A server cannot be reached, or does not offer what was asked of it."""
