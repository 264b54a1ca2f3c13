"""Raters and arguments to learn from: simulated ones, whose truth is known, and debates judged by people."""
