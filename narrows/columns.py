"""The column names that several rooms share, spelled once."""

USER = "user_id"
ITEM = "item_id"
EVENT_TIME = "event_time"
INGESTED_AT = "ingested_at"
EVENT_TYPE = "event_type"
VALUE = "value"
PRICE = "price"
CONTEXT = "context"
SESSION = "session_id"
KIND = "kind"
POSITION = "position"
DAY = "day"
ASOF = "asof"
LABEL = "label"
WEIGHT = "weight"
REQUEST_WEIGHT = "request_weight"
"""1 / the probability that the flow sample has the user; null for a user outside it."""
SHADOW_SCORE = "shadow_score"
"""In the flow of a room what its model scores, also where a simpler order takes its place; later rooms do not receive it."""
LABEL_WEIGHT = "label_weight"
STAGE_REACHED = "stage_reached"
KEPT = "kept"
REASON = "reason"
RANK = "rank"
SCORE = "score"
PROPENSITY = "propensity"

EVENT_KEY = (USER, ITEM, EVENT_TIME, EVENT_TYPE, SESSION)
"""Two events that agree in all of these are one event written twice."""

EVENT_COLUMNS = (
    USER, ITEM, EVENT_TIME, INGESTED_AT, EVENT_TYPE, VALUE, PRICE, CONTEXT, SESSION, POSITION, PROPENSITY,
)  # fmt: skip
"""What a source may say of an event."""
AVAILABLE_AT = "available_at"
"""When an item could be had first: published, put on sale, released."""

ITEM_TEXTS = ("title", "category", "subcategory", "brand", "department")
ITEM_COLUMNS = (ITEM, *ITEM_TEXTS, AVAILABLE_AT)
"""What a source may say of an item."""
USER_COLUMNS = (USER, "segment")


def stage_score(stage: str) -> str:
    """The column of a stage's or channel's score: ``<stage>_score``."""
    return f"{stage}_score"


def stage_rank(stage: str) -> str:
    """The column of a stage's or channel's rank, 1 = best: ``<stage>_rank``."""
    return f"{stage}_rank"
