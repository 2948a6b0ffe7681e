"""The report: plain data, and its rendering as page, text, tables and plots."""
