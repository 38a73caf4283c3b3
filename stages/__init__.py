"""The rooms of Narrows, in the order in which they run."""

from stages.evaluation import Evaluation
from stages.events import Events
from stages.examples import Examples
from stages.item_profiles import ItemProfiles
from stages.prerank import Prerank
from stages.rank import Rank
from stages.recall import Recall
from stages.recommendations import Recommendations
from stages.rerank import Rerank
from stages.user_profiles import UserProfiles

PIPELINE = (
    Events,
    UserProfiles,
    ItemProfiles,
    Examples,
    Recall,
    Prerank,
    Rank,
    Rerank,
    Recommendations,
    Evaluation,
)
