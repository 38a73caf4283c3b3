"""What a user can mend about a source."""

from narrows.temporary import Temporary


class SourceError(ValueError):
    """The source cannot be read; the message names the file or column and the remedy."""


class SourceAway(SourceError, Temporary):
    """A file is not there yet, or a place could not be reached: a later try may find it."""


class SourceBroken(SourceError):
    """A file is empty, breaks off or is damaged. One that is still being written looks the same."""


class OtherColumns(SourceError):
    """Files that arrived later do not have the columns of the earlier ones: the source must be read as a whole."""
