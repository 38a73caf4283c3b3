"""Features of a (user, item) pair as known at the as-of: one function per feature, named after its column.

Every function takes `Pairs` and returns float32 [pairs], NaN where the feature does not apply; its docstring is the
definition. Ages are days before the end of the as-of day; a *visit* is a distinct day with any event of the user;
a *day with* an item, category or brand is a distinct day on which the user had it.
"""

from features.registry import FEATURES, candidate_score, feature, matrix, register_early_scores

# The order of these imports is the order of the features: LightGBM samples its columns by their position.
from features.pair import history, interest, item, user, context  # isort: skip

register_early_scores()

__all__ = ["FEATURES", "candidate_score", "context", "feature", "history", "interest", "item", "matrix", "user"]
