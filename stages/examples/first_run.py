"""The first run has no past: make the earlier partitions that it learns from, as runs of those times would have."""

from __future__ import annotations

from typing import TYPE_CHECKING

from narrows.run import reads
from narrows.source.delimited import SourceError
from narrows.stage import Asof

if TYPE_CHECKING:
    from narrows.run.runner import Runner

PROFILES = ("user_profiles", "item_profiles")


def make_windows(runner: Runner, asof: Asof, scored: int) -> None:
    """Make what is missing of the earlier as-ofs that the run of ``asof`` learns from; what runs published is kept.

    A source that begins later than the oldest window has fewer windows.

    - Recall's model of the oldest window narrows at every window: it knows none of their labels.
    - A pre-ranker that learned from the older windows alone narrows at the latest ``scored`` ones: its scores there are
      as out of sample as those that it gives today.
    - Examples of a window belong to the partition a horizon later, when its labels are known.

    Raises:
        SourceError: the source has too little history.
    """
    windows = runner.windows(asof)
    if len(windows) <= scored:  # a pre-ranker that scores them needs an older one to learn from
        source = runner.settings.source
        begins = reads.known(runner, runner.source_room, asof).notes["begins"]
        raise SourceError(
            f"[source] begins with {begins}: as of {asof} that is too little to learn from. A run needs {scored + 2} "
            f"horizons of {source.horizon}. Choose a later as-of, give older events, or lower [source] horizon."
        )
    runner.making_past = True
    try:
        if missing := [window for window in windows if not runner.published("recall", window)]:
            for name in PROFILES:
                runner.tables(name, [window for window in windows if not runner.published(name, window)])
            runner.narrow_with("recall", runner.model("recall", windows[0]), missing)
        _examples(runner, windows[:-scored])
        latest = windows[-scored:]
        if missing := [window for window in latest if not runner.published("prerank", window)]:
            runner.narrow_with("prerank", runner.model("prerank", latest[0]), missing)
        _examples(runner, latest[:-1])
    finally:
        runner.making_past = False


def _examples(runner: Runner, windows: list[Asof]) -> None:
    asofs = [window + runner.horizon for window in windows]
    if missing := [asof for asof in asofs if not runner.published("examples", asof)]:
        runner.tables("examples", missing)
