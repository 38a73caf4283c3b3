"""What a user can mend about a source."""


class SourceError(ValueError):
    """The source cannot be read; the message names the file or column and the remedy."""


class OtherColumns(SourceError):
    """Files that arrived later do not have the columns of the earlier ones: the source must be read as a whole."""
