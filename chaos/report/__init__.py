"""The report of a run: one page of HTML that needs nothing but itself."""

from __future__ import annotations

from chaos.report.page import page
from chaos.report.record import Record

__all__ = ["Record", "page"]
