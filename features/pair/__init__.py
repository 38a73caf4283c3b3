"""Features of a (user, item) pair as known at the as-of: one function per feature, named after its column.

Every function takes `Pairs` and returns float32 [pairs], NaN where the feature does not apply; its docstring is the
definition. Ages are days before the end of the as-of; a *visit* is a period of ``[source] visit`` with any event of the
user; a *visit with* an item, category or brand is one on which the user had it. Steps of the ladder (``1x``, ``4x``,
``16th``) are multiples of the horizon.
"""

from features.registry import FEATURES, candidate_score, feature, item_feature, matrix, register_early_scores

# The order of these imports is the order of the features: LightGBM samples its columns by their position.
from features.pair import history, interest, item, user, context  # isort: skip

register_early_scores()

__all__ = [
    "FEATURES", "candidate_score", "context", "feature", "history", "interest", "item", "item_feature", "matrix", "user",
]  # fmt: skip
