"""Settings of what is made of judgments. Torch-free."""

from __future__ import annotations

from typing import Literal

How = Literal["majority", "dawid_skene", "rater_model"]
"""How judgments become labels (`labels.py`)."""
