"""``narrows ui``: the pages in the browser, and where they lead."""
