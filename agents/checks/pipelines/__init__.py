"""Pipeline runs: data sources, configuration, behaviour, remote code."""

from agents.checks.pipelines.check import check_pipeline
from agents.checks.pipelines.config_file import pipeline_event_from_config
from agents.checks.pipelines.configuration import config_diff

__all__ = ["check_pipeline", "config_diff", "pipeline_event_from_config"]
