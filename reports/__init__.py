"""Statistics, tables and the HTML report."""
