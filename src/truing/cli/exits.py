"""Exit codes of the command line. 0 = done."""

EXIT_HELD = 1
"""The gate holds the release back."""
EXIT_MENDABLE = 2
"""Something the user can mend; the message says what."""
EXIT_INTERRUPTED = 130
"""Ctrl-C."""
