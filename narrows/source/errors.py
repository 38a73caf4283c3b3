"""What a user can mend about a source."""


class SourceError(ValueError):
    """The source cannot be read; the message names the file or column and the remedy."""
