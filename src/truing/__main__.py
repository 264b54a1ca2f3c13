"""`python -m truing` is the `truing` command."""

from truing.cli.app import main

main()
