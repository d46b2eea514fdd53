"""The run configuration: one strict schema for one YAML file."""

from trainer.config.loading import as_config, config_to_yaml, load_config, parse_config
from trainer.config.schema import Config

__all__ = ["Config", "as_config", "config_to_yaml", "load_config", "parse_config"]
