"""Experiments: what a file may say, what is refused before anything runs, designs once each, equal tuning, resume."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from narrows.cli.main import main
from narrows.codesign.design import Design
from narrows.codesign.designs import canonical, named, trained_as
from narrows.codesign.execute import Progress, execute, in_words
from narrows.codesign.experiment import READY, ExperimentError, Tune, read
from narrows.codesign.results import Outcomes, fingerprint_of
from narrows.codesign.run import run
from narrows.codesign.source import prepare
from narrows.codesign.tuning import tuned
from tests.codesign.experiments import TEXT, Trainer, planned, written
from tests.codesign.small_log import small_log

WORLD = """
name = "world"
seeds = 1
[data.world]
requests = 300
recalled = 40
keep = [20, 10, 5]
sample = 0
past_days = 5
[data.world.world]
users = 100
items = 120
days = 12
subcategories = 12
[design]
epochs = 1
batch = 64
embedding_size = 4
hidden = [8, 4]
rank_hidden = [8]
[grid]
scheme = ["independent", "single"]
precision = ["float32", "int8"]
[tune]
trials = 0
"""


def test_the_grid_gives_each_design_once_with_a_name_of_what_differs(tmp_path):
    made = planned(tmp_path)
    assert made.names == (
        "independent, widths 6-3", "independent, widths 4-3", "joint, widths 6-3", "joint, widths 4-3", "single, width 20",
    )  # fmt: skip
    assert made.experiment.main_metric == "ndcg"
    text = TEXT.replace(
        'scheme = ["independent", "joint"]', 'scheme = ["independent", "joint"]\nloss = ["lcron", "arf"]'
    )
    assert len(planned(tmp_path, text).designs) == 2 * 1 + 2 * 2 + 1, "a loss is idle where nothing is joint"


def test_idle_settings_make_no_other_design():
    one = canonical(Design(scheme="single", hidden=(8,), trees=7, widths=(9, 5)))
    assert one == canonical(Design(scheme="single", prerank="mlp", widths=(30, 5)))
    assert canonical(Design(prerank="lightgbm", hidden=(3,))) == canonical(Design(prerank="lightgbm"))
    assert canonical(Design(scheme="joint", loss="arf")).loss == "arf"
    assert canonical(Design(retrieval="mlp", retrieval_hidden=(3,))) == Design()
    assert canonical(Design(retrieval="mlp", widths=(9, 8, 7))).retrieval == "mlp"
    assert canonical(Design(scheme="single", retrieval="mlp", widths=(9, 8, 7))) == canonical(
        Design(scheme="single", widths=(8, 7))
    )
    assert trained_as(Design(precision="int8")) == Design()
    assert named([Design(), Design(learning_rate=0.1)]) == ["learning rate 0.005", "learning rate 0.1"]
    assert named([Design()]) == ["independent"]
    both = [
        Design(hidden=(8, 4)),
        Design(hidden=(8, 4), scheme="joint"),
        canonical(Design(scheme="single", hidden=(8, 4))),
    ]
    assert named(both) == ["independent, widths 30-20", "joint, widths 30-20", "single, width 20"], (
        "hidden says nothing of the last"
    )


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('"joint"]', '"joit"]', "[grid] scheme = 'joit': give independent, distilled, survival, joint or single."),
        ('scheme = "single"', 'scheme = "alone"', "scheme = 'alone': give independent"),
        (
            "[[designs]]",
            "[[designs]]\nlos = 'arf'",
            "[[designs]] number 1 'los' is not a known key. Did you mean 'loss'?",
        ),
        ('scheme = "single"', 'scheme = "joint"\nloss = "lcorn"', "no loss is named 'lcorn'; there are lcron"),
        ('scheme = "single"', 'scheme = "joint"\nloss = "rankflow"\ntau = 2', "tau = 2: rankflow has no temperature"),
        ('scheme = "single"', 'prerank = "gpt"', "prerank = 'gpt': give two_tower"),
        ("[[6, 3], [4, 3]]", "[]", "[grid] widths = []: give one value or more."),
        ("[[6, 3], [4, 3]]", "[[3, 6]]", "grow along the cascade"),
        ("[[6, 3], [4, 3]]", "[[6, 4, 5]]", "grow along the cascade"),
        ("[[6, 3], [4, 3]]", "[[6, 5, 4, 3]]", "give two or three of at least 1"),
        ('scheme = "single"', 'retrieval = "din"', "retrieval = 'din': give two_tower, linear or mlp."),
        ('scheme = "single"', 'room = "recall"', "'room' is not a known key"),
        ("seeds = 3", "seeds = 0", "seeds = 0: give a number from 1 to 100"),
        ('log = "log"', 'log = "nowhere"', "[data] log = 'nowhere': there is no such folder"),
        ('log = "log"', "", "names no log: give one of world, log or run."),
        ('log = "log"', 'log = "log"\nrun = "2017-11-30"', "names log and run: give one of"),
        ('log = "log"', "world = { requests = 1 }", "[data.world] requests = 1: give 3 or more"),
        ("trials = 3", "trials = -1", "[tune] trials = -1: give 0 or more"),
        ("trials = 3", "learning_rate = [0.1, 0.01]", "[tune] learning_rate = [0.1, 0.01]: give two numbers above 0"),
        ('metric = "ndcg"', 'metric = "auc"', "metric = 'auc': give one of joint_recall, ndcg, value."),
        ("money = 1e9", "money = -1", "[budget] money = -1: give a number above 0"),
        ('name = "small"', 'name = "A b"', "name = 'A b': give lower-case letters"),
        ("[grid]", "[grid", "cannot be read"),
        ("[budget]", "[bugdet]", "'bugdet' is not a known"),
        (
            'scheme = "single"',
            'prerank = "lightgbm"\nprecision = "int8"',
            "precision = 'int8' is not for trees: give float32 or pruned",
        ),
        ('scheme = "single"', 'precision = "int3"', "precision = 'int3': give one of float32"),
    ],
)
def test_a_bad_file_is_refused_in_one_line_before_anything_runs(old, new, says, tmp_path, capsys, monkeypatch):
    assert old in TEXT
    file = written(tmp_path, TEXT.replace(old, new, 1))
    monkeypatch.chdir(tmp_path)
    assert main(["codesign", str(file)]) == 2
    error = capsys.readouterr().err
    assert says in error
    assert str(file) in error
    assert error.count("\n") == 1
    assert not (tmp_path / "var" / "codesign").exists()


def test_an_experiment_without_designs_is_refused(tmp_path):
    text = TEXT.partition("[grid]")[0] + "[tune]\ntrials = 1\n"
    with pytest.raises(ExperimentError, match=r"add \[grid\]"):
        planned(tmp_path, text)
    with pytest.raises(ExperimentError, match="no ready experiment"):
        read(Path("nonsense"))


def test_another_log_makes_another_experiment(tmp_path):
    written(tmp_path)
    made = read(Path("widths"), tmp_path / "log")
    assert made.experiment.name == "widths-log"
    assert made.experiment.main_metric == "joint_recall"
    assert len(prepare(made, tmp_path / "var").load()) == 120


def test_every_design_gets_as_many_trials_and_every_seed(tmp_path):
    made, trainer = planned(tmp_path), Trainer()
    results = execute(made, tmp_path / "var", train=trainer)
    assert [len(seeds) for seeds in results] == [3] * 5
    judged = [judge for _, _, judge in trainer.calls]
    assert judged.count("validation") == 5 * 3
    assert judged.count("test") == 5 * 3
    for seeds in results:
        assert len({str(each.design) for each in seeds}) == 1
        assert seeds[0].metrics["flops"] > 0
        assert "flops" not in seeds[1].metrics, "the cost is measured once"
    rates = {each[0].design["learning_rate"] for each in results}
    assert all(0.001 <= rate <= 0.03 for rate in rates)


def test_nothing_is_computed_twice_and_a_killed_run_goes_on(tmp_path):
    made, state = planned(tmp_path), tmp_path / "var"

    class Killed(Trainer):
        def __call__(self, *given, **more):
            if len(self.calls) == 13:
                raise KeyboardInterrupt
            return super().__call__(*given, **more)

    first, second, third = Killed(), Trainer(), Trainer()
    with pytest.raises(KeyboardInterrupt):
        execute(made, state, train=first)
    whole = execute(made, state, train=second)
    assert len(second.calls) == 30 - 13
    again = execute(made, state, train=third)
    assert not third.calls
    for one, other in zip(whole, again, strict=True):
        assert [each.metrics for each in one] == [each.metrics for each in other]
        assert all(
            np.array_equal(a.by_request["ndcg"], b.by_request["ndcg"], equal_nan=True)
            for a, b in zip(one, other, strict=True)
        )
    alone = Trainer()
    execute(made, state, train=alone, only=2)
    assert not alone.calls


def test_half_written_results_are_made_again(tmp_path):
    made, state = planned(tmp_path), tmp_path / "var"
    execute(made, state, train=Trainer(), only=0)
    for file in (state / "codesign" / "outcomes").glob("*.parquet"):
        file.write_bytes(b"half")
    trainer = Trainer()
    execute(made, state, train=trainer, only=0)
    assert [judge for _, _, judge in trainer.calls] == ["test"] * 3


def test_a_training_that_diverges_loses_its_trial_alone(tmp_path):
    class Diverging(Trainer):
        def __call__(self, design, *given, **more):
            if more["judge"] == "validation" and len(self.calls) % 3:
                self.calls.append((design, 0, "validation"))
                raise ValueError("a score is not a number: the training has diverged; lower learning_rate")
            return super().__call__(design, *given, **more)

    results = execute(planned(tmp_path), tmp_path / "var", train=Diverging(), only=0)
    assert results[0][0].design["learning_rate"] == Design().learning_rate


def test_tuning_is_the_same_again_and_takes_the_best():
    tried: list[list[Design]] = [[], []]

    def judge(into):
        return lambda design: (into.append(design), -abs(np.log(design.learning_rate / 0.02)) - design.batch / 1e4)[1]

    best = [tuned(Design(scheme="joint"), Tune(trials=8), judge(into)) for into in tried]
    assert tried[0] == tried[1]
    assert best[0] == best[1] == max(tried[0], key=judge([]))
    assert tried[0][0] == Design(scheme="joint")
    assert len({design.tau for design in tried[0]}) == 8
    assert tuned(Design(), Tune(trials=4), judge([])).tau is None
    assert tuned(Design(scheme="joint", loss="fs_lambdaloss"), Tune(trials=4), judge([])).tau is None
    trees = list[Design]()
    tuned(Design(prerank="lightgbm"), Tune(trials=3), judge(trees))
    assert len({design.tree_learning_rate for design in trees}) == 3
    assert tuned(Design(), Tune(trials=0), judge([])) == Design()


def test_fingerprints_follow_the_design_the_log_the_seed_and_the_judge(tmp_path):
    outcomes = Outcomes(tmp_path)
    made = {
        outcomes.fingerprint(Design(), "log", 0, judged="test"), outcomes.fingerprint(Design(epochs=3), "log", 0, judged="test"),
        outcomes.fingerprint(Design(), "other", 0, judged="test"), outcomes.fingerprint(Design(), "log", 1, judged="test"),
        outcomes.fingerprint(Design(), "log", 0, judged="validation"),
    }  # fmt: skip
    assert len(made) == 5
    assert fingerprint_of(small_log()) == fingerprint_of(small_log())
    assert fingerprint_of(small_log()) != fingerprint_of(small_log(seed=1))


def test_progress_says_what_is_left(caplog):
    progress = Progress(4)
    with caplog.at_level("INFO", "narrows.codesign.execute"):
        progress("", False)
        progress("joint: seed 0, ndcg .5", True)
    assert caplog.messages[0].startswith("2 of 4: joint: seed 0, ndcg .5; at most ")
    assert [in_words(seconds) for seconds in (40, 600, 9000)] == ["40 s", "10 min", "2.5 h"]


def test_a_world_is_generated_trained_and_compressed(tmp_path):
    file = tmp_path / "world.toml"
    file.write_text(WORLD)
    results = execute(read(file), tmp_path / "var")
    plain, small, single, _ = (seeds[0] for seeds in results)
    assert plain.metrics["value"] == pytest.approx(small.metrics["value"], rel=0.2)
    assert plain.metrics["train_seconds"] == small.metrics["train_seconds"], "precisions share their training"
    assert small.metrics["parameter_bytes"] < plain.metrics["parameter_bytes"]
    assert single.metrics["flops"] > plain.metrics["flops"]
    assert len(list((tmp_path / "var" / "codesign" / "logs").iterdir())) == 1


def test_several_processes_find_the_same(tmp_path):
    file = tmp_path / "world.toml"
    file.write_text(WORLD)
    one = execute(read(file), tmp_path / "one")
    two = execute(read(file), tmp_path / "two", jobs=2)
    for first, second in zip(one, two, strict=True):
        assert first[0].metrics["value"] == pytest.approx(second[0].metrics["value"], rel=1e-4)


@pytest.mark.parametrize("file", sorted(READY.glob("*.toml")), ids=lambda file: file.stem)
def test_ready_experiments_are_sound(file):
    made = read(Path(file.stem))
    assert made.experiment.name == file.stem
    assert made.experiment.question.endswith("?")
    assert len(made.designs) > 1
    assert made.experiment.seeds >= 5


def test_the_trainer_of_the_product_has_the_signature_that_is_called():
    import inspect

    assert {"judge", "parts"} <= set(inspect.signature(run).parameters)
