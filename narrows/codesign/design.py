"""A design: one setting of a cascade that is trained and judged as a whole."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, ConfigDict, Field
from pydantic.dataclasses import dataclass

from narrows.codesign.channels import Quotas, quotas_of

Scheme = Literal["independent", "distilled", "survival", "joint", "single"]
SCHEMES: dict[str, str] = {
    "independent": "each stage on its own label: the pre-ranker on all candidates, the ranker on those it was given",
    "distilled": "the stages before the ranker learn the trained ranker's order of everything recalled, shown or not",
    "survival": "a stage before the ranker learns what is wanted and survives the trained stages after it",
    "joint": "all are updated on one loss of the whole cascade",
    "single": "no stage before it: the ranker scores all candidates",
}
"""The training schemes and what they are."""
LAYERS = {"retrieval": "retrieval_hidden", "prerank": "hidden", "rank": "rank_hidden"}
"""The stages of a cascade of three, in order, with the setting of each one's hidden layers; a cascade of two has the last two."""
STAGES = tuple(LAYERS)
OF_TREES = ("lcron", "lcron_e2e")
"""The losses that a LightGBM pre-ranker can descend: those with a gradient and hessian for trees."""


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class Design:
    """Everything that decides the models of a cascade, but for the log and the seed."""

    scheme: Scheme = "independent"
    """How the stages are trained; see `SCHEMES`."""
    loss: str = "lcron"
    """Of the joint scheme: a name of `narrows.codesign.losses.LOSSES`."""
    retrieval: Literal["two_tower", "linear", "mlp"] = "two_tower"
    """The model of the first of three stages: where ``widths`` has three, it is before the pre-ranker."""
    prerank: Literal["two_tower", "linear", "mlp", "lightgbm"] = "two_tower"
    """The pre-ranker's model."""
    rank: Literal["din", "mlp", "two_tower", "linear"] = "din"
    """The ranker's model."""
    widths: tuple[int, ...] = (30, 20)
    """How many candidates each stage keeps: two are the pre-ranker's and the ranker's, three those of retrieval too. A single
    stage keeps the last of them."""
    channels: Annotated[Quotas, BeforeValidator(quotas_of)] = ()
    """How many of its best candidates each recall channel of the log gives, such as ``{ popular = 20, similar = 50 }``; a
    channel that is not named gives what ``others`` says, else all that the log has."""

    embedding_size: int = Field(default=16, ge=1, le=512)
    """Of an item, in both models."""
    hidden: tuple[int, ...] = Field(default=(64, 32), min_length=1)
    """Hidden layers of the pre-ranker; two towers' last one is the size of their vectors."""
    retrieval_hidden: tuple[int, ...] = Field(default=(32, 16), min_length=1)
    """Hidden layers of the first of three stages."""
    rank_hidden: tuple[int, ...] = Field(default=(128, 64), min_length=1)
    """Hidden layers of the ranker."""
    cost: Literal["own", "equal"] = "own"
    """Of a single stage. equal: its embeddings and hidden layers are made so small or large that a request takes as many
    operations as in the first design of the experiment that is a cascade of networks."""
    trees: int = Field(default=200, ge=1)
    """Trees of a LightGBM pre-ranker."""
    leaves: int = Field(default=31, ge=2)
    """Leaves of each."""

    epochs: int = Field(default=2, ge=1)
    """Passes over the training requests."""
    batch: int = Field(default=256, ge=1)
    """Requests of a step."""
    learning_rate: float = Field(default=0.005, gt=0)
    """Of Adam at the first step; it falls to 0 in a straight line."""
    tree_learning_rate: float = Field(default=0.1, gt=0, le=1)
    """Of LightGBM."""
    tau: float | None = Field(default=None, gt=0)
    """Temperature: of a joint loss's relaxation, of the teacher's order (distilled), of the ranker's cut (survival).
    None = the loss's own default, else 1."""
    quotas: tuple[int, ...] = ()
    """How many candidates each stage keeps within a joint loss; none given = the widths, and for LCRON half of the final
    list in each stage, as published (10 for a list of 20): the widths themselves let nearly all of few candidates through."""
    exposure: Literal["own", "all"] = "own"
    """What an apart trained ranker learns from: the candidates that the logged ranker was given (of requests for which it was
    given none, all), or all of them."""
    weighted: bool = True
    """Whether pointwise losses weigh candidates by the inverse of the probability of being sampled."""
    reg: float = Field(default=0.0, ge=0)
    """Decoupled weight decay (AdamW)."""
    precision: str = "float32"
    """Of the models when they serve."""

    def __post_init__(self) -> None:
        if len(self.widths) not in (2, 3) or min(self.widths) < 1:
            raise ValueError(
                f"widths = {self.widths}: give two or three of at least 1, one a stage, the ranker's last."
            )
        if list(self.widths) != sorted(self.widths, reverse=True):
            raise ValueError(f"widths = {self.widths} grow along the cascade: a stage keeps no more than it is given.")
        if self.quotas and (len(self.quotas) != len(self.widths) or min(self.quotas) < 1):
            raise ValueError(f"quotas = {self.quotas}: give one of at least 1 for each width.")
        for name in LAYERS.values():
            if min(getattr(self, name)) < 1:
                raise ValueError(f"{name} = {getattr(self, name)}: a layer has at least 1 unit.")
        if low := [f"{name} = {quota}" for name, quota in self.channels if quota < 0]:
            raise ValueError(f"channels = {low[0]}: a channel gives 0 candidates or more.")
        if self.cost == "equal" and self.scheme != "single":
            raise ValueError("cost = 'equal': it is for scheme = 'single', whose size is matched to a cascade's cost.")
        if self.scheme == "joint":
            from narrows.codesign.losses import LOSSES, WITHOUT_TAU

            if self.loss not in LOSSES:
                raise ValueError(f"no loss is named {self.loss!r}; there are {', '.join(LOSSES)}.")
            if self.tau is not None and self.loss in WITHOUT_TAU:
                raise ValueError(f"tau = {self.tau:g}: {self.loss} has no temperature. Leave tau out.")
            if self.prerank == "lightgbm" and self.loss not in OF_TREES:
                raise ValueError(f"loss = {self.loss!r}: trees descend {' or '.join(OF_TREES)} alone.")
            if self.prerank == "lightgbm" and len(self.widths) > 2:
                raise ValueError(f"widths = {self.widths}: trees descend the loss of two stages alone. Give two.")

    @property
    def stages(self) -> tuple[str, ...]:
        """The names of the stages that serve, in order."""
        return STAGES[-1:] if self.scheme == "single" else STAGES[-len(self.widths) :]

    def layers(self, stage: str) -> tuple[int, ...]:
        """The hidden layers of a stage."""
        layers: tuple[int, ...] = getattr(self, LAYERS[stage])
        return layers

    @property
    def loss_quotas(self) -> tuple[int, ...]:
        """How many candidates each stage keeps within the joint loss."""
        half = (max(1, self.widths[-1] // 2),) * len(self.widths)
        return self.quotas or (half if self.loss.startswith("lcron") else self.widths)

    @property
    def served_widths(self) -> tuple[int, ...]:
        """How many candidates each of these keeps."""
        return self.widths[-len(self.stages) :]
