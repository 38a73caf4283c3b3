"""The kinds of events: what a type of events means to the cascade (the column ``kind``)."""

POSITIVE = "positive"
"""The user took the item: labels, histories, popularity."""
CONTEXT = "context"
"""The user looked at the item: features and a channel of their own, never a label."""
EXPOSURE = "exposure"
"""The item was shown to the user; shown and not taken is a negative."""
UNDO = "undo"
"""The user gave the item back: it cancels an earlier positive."""
KINDS = (POSITIVE, CONTEXT, EXPOSURE, UNDO)
