"""The `truing` command."""

from truing.cli.app import main

__all__ = ["main"]
