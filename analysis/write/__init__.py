"""Tables and figures as Markdown, LaTeX and a report."""
