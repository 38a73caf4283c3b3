"""The rooms of Narrows, in the order in which they run."""

PIPELINE = (
    "events",
    "user_profiles",
    "item_profiles",
    "examples",
    "recall",
    "prerank",
    "rank",
    "rerank",
    "recommendations",
    "evaluation",
)
