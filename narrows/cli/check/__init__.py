"""``narrows doctor``, and how far a source reaches."""
