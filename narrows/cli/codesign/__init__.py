"""The command ``codesign``: experiments on cascades, and what goes with them, one module an action."""
