"""A report as files and text: HTML, Markdown, CSV, JSON, SVG and LaTeX."""

from __future__ import annotations

from compare.report.rendering.directory import beside, check_writable, save

__all__ = ["beside", "check_writable", "save"]
