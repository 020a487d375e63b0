"""What pytest has to know before it looks at any folder: how notebooks are compared."""


def pytest_collectstart(collector):
    """Compare what a figure says in its line of plain text, not the picture or the page around it."""
    if hasattr(collector, "skip_compare"):  # nbval's notebook collector
        collector.skip_compare += ("text/html", "image/svg+xml")
