"""Load, decide, commit, act: events of stored entities."""

from pystator.orchestrator.orchestrator import Orchestrator

__all__ = ["Orchestrator"]
