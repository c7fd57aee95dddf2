"""What listing processes of tests make rows by."""

from __future__ import annotations

from scanner.parcel import terms
from scanner.resolve import Rules
from scanner.settings import LayoutConfig

AT_ONCE = terms(LayoutConfig(), Rules(False, 1_000_000_000), -1.0)
"""However young the files are."""
TERMS = terms(LayoutConfig(), Rules(False, 1_000_000_000), 1.0)
