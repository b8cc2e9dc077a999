"""Layer statistics by hand, and studies that look at nothing but layers."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr
from synthetic_study import make_study
from synthetic_sweep import Truth, make_sweep

from eval.schema import ITEM_COLUMNS, SCORE_COLUMNS
from experiments.config.profiles import profile
from lata.quantities import MEASURED_NOTE, OUTSIDE
from results.analysis.analysis import analyse
from results.analysis.layers import has_layers, layer_statistics, layer_vectors, threshold_of
from results.answers.learning import findings
from results.claims.layers import c4, c5
from results.study import store as stored
from results.study.run import GRANULAR, Study
from results.summaries.study import summarise
from results.summaries.sweep import summarise_sweep
from results.tables.layers import layers_table, similarity_table


def granular(*rows: tuple[int, str, str, int, str, float]) -> pd.DataFrame:
    return pd.DataFrame([("mini", *row) for row in rows], columns=list(GRANULAR))


def by_hand() -> pd.DataFrame:
    """Six blocks of one task; under 0.95 are block 3 and 5 for seed 0, block 5 alone for seed 1."""
    seeds = {0: [0.99, 0.98, 0.97, 0.94, 0.96, 0.90], 1: [0.99, 0.98, 0.97, 0.96, 0.95, 0.92]}
    return granular(*((s, "block", str(d), d, "math", x) for s, own in seeds.items() for d, x in enumerate(own)))


def drawn(seeds: tuple[int, ...] = (0, 1), blocks: int = 12) -> pd.DataFrame:
    """Similarities that fall with depth, three modules a block and one tensor outside all blocks."""
    rows: list[tuple[int, str, str, int, str, float]] = []
    for seed in seeds:
        rng = np.random.default_rng(seed)
        for task in ("math", "ua"):
            for depth in range(blocks):
                fall = 0.06 * (depth / blocks) ** 2
                rows.append((seed, "block", str(depth), depth, task, 1 - fall))
                for part in ("attention", "mlp", "norm"):
                    noise = 0.03 * rng.uniform()
                    rows.append((seed, "module", f"{depth}.{part}", depth, task, 1 - fall - noise))
            rows.append((seed, "tensor", "embed_tokens", -1, task, 0.5))
    return granular(*rows)


def study_of(frame: pd.DataFrame, **meta: object) -> Study:
    """A study without scores."""
    blocks = frame[frame["granularity"] == "block"]
    similarity = blocks.assign(layer=blocks["depth"])[["family", "seed", "layer", "task", "similarity"]]
    items = pd.DataFrame(columns=["seed", "kind", "merge", "label", "point", *ITEM_COLUMNS])
    return Study(
        pd.DataFrame(columns=list(SCORE_COLUMNS)),
        items,
        similarity.reset_index(drop=True),
        meta={"family": "gemma2_2b", "experiment": "layers", "title": "Layers", "merges": {}, "forgets": {}, **meta},
        granular=frame,
    )


def test_statistics_by_hand() -> None:
    (one,) = layer_statistics(by_hand(), 0.95)
    assert (one.granularity, one.task, one.count) == ("block", "math", 6)
    assert one.kept_S.tolist() == [2, 1]
    assert one.share_S == pytest.approx([1 / 3, 1 / 6])
    assert one.depth_S == pytest.approx([(3 / 5 + 5 / 5) / 2, 1.0])
    assert one.late_S == pytest.approx([0.5, 1.0])  # the last third of six blocks: 4 and 5
    assert one.lowest_S == pytest.approx([0.90, 0.92])
    assert one.median_S == pytest.approx([0.965, 0.965])
    assert one.rho == pytest.approx(spearmanr(range(6), [0.99, 0.98, 0.97, 0.95, 0.955, 0.91])[0])


def measured(frame: pd.DataFrame) -> Study:
    """A study that knows what similarities leave open: cosines a tenth of the depth, a fifth outside blocks."""
    own = frame.assign(cosine=frame["depth"] / 10, share=0.8 / 6)
    study = study_of(own)
    similarity = study.similarity.assign(cosine=study.similarity["layer"] / 10, share=0.8 / 6, outside=0.2)
    return replace(study, similarity=similarity)


def test_both_tables_show_what_similarity_leaves_open_with_a_row_for_the_rest(tmp_path: Path) -> None:
    summarise(measured(by_hand()), tmp_path)
    table = pd.read_csv(tmp_path / "tables" / "similarity.csv", dtype={"layer": str})
    assert list(table.columns) == ["section", "layer", "similarity math", "cosine math", "share math"]
    assert table["layer"].tolist() == [*"012345", OUTSIDE]
    assert table["cosine math"].tolist()[:6] == pytest.approx([0, 0.1, 0.2, 0.3, 0.4, 0.5])
    assert table["share math"].sum() == pytest.approx(1)
    assert table.iloc[-1][["similarity math", "cosine math"]].isna().all()
    layers = pd.read_csv(tmp_path / "tables" / "layers.csv")
    assert layers[["cosine median", "cosine highest", "share outside"]].to_numpy().tolist() == [[0.25, 0.5, 0.2]]
    assert MEASURED_NOTE in (tmp_path / "tables" / "similarity.md").read_text(encoding="utf-8")
    read = stored.load(tmp_path)
    assert stored.files(read) == stored.files(measured(by_hand()))
    assert [name for name, _ in profile(tmp_path / "tables" / "similarity.csv")] == ["math"]


def test_runs_of_earlier_versions_show_similarity_alone() -> None:
    analysis = analyse(study_of(by_hand()))
    tables = [similarity_table(analysis), layers_table(analysis)]
    assert not {"cosine", "share"} & {column.group for table in tables for column in table.columns}
    assert MEASURED_NOTE not in [note for table in tables for note in table.notes]
    assert OUTSIDE not in [row.label for row in tables[0].rows]


def test_the_threshold_itself_is_not_under_it() -> None:
    (one,) = layer_statistics(by_hand(), 0.92)
    assert one.kept_S.tolist() == [1, 0]
    assert math.isnan(one.depth_S[1])
    assert math.isnan(one.late_S[1])


def test_one_block_lies_at_depth_0() -> None:
    (one,) = layer_statistics(granular((0, "block", "0", 0, "math", 0.5)), 0.95)
    assert (one.depth_S.item(), one.late_S.item()) == (0.0, 0.0)
    assert math.isnan(one.rho)


@pytest.mark.parametrize("blocks", [1, 2, 3, 26, 42])
def test_shares_and_depths_stay_between_0_and_1_and_a_threshold_above_all_keeps_all(blocks: int) -> None:
    for one in layer_statistics(layer_vectors(study_of(drawn(blocks=blocks))), 1.01):
        assert one.share_S.tolist() == [1.0, 1.0]
        assert one.depth_S == pytest.approx([0.5, 0.5] if blocks > 1 else [0.0, 0.0])
        assert one.late_S == pytest.approx([(blocks // 3) / blocks] * 2, abs=1 / blocks)


def test_vectors_outside_blocks_or_without_a_cosine_are_not_counted() -> None:
    frame = pd.concat([drawn(), granular((0, "block", "11", 11, "code", math.nan))])
    vectors = layer_vectors(study_of(frame))
    assert set(vectors["granularity"]) == {"block", "module"}
    assert "code" not in set(vectors["task"])
    note = layers_table(analyse(study_of(frame))).notes[-1]
    assert note == "Not counted: 1 layer vector outside all blocks."


def test_the_table_shows_means_over_seeds_with_the_range() -> None:
    table = layers_table(analyse(study_of(by_hand())))
    assert table.title == "Layer statistics at threshold 0.95"
    (row,) = table.rows
    assert (row.label, row.section) == ("math", "block")
    assert [cell.text for cell in row.cells] == ["6", "1.5", "25.0", "0.90", "75", "−0.94", "0.9100", "0.9650"]
    assert [cell.aside for cell in row.cells][1:3] == ["(1 to 2)", "(16.7 to 33.3)"]
    assert row.cells[2].raw == pytest.approx((0.25, 1 / 6, 1 / 3))


def test_the_threshold_is_the_studys_where_it_is_a_value() -> None:
    frame = by_hand()
    assert threshold_of(study_of(frame)) == 0.95
    assert threshold_of(study_of(frame, threshold={"kind": "value", "value": 0.97})) == 0.97
    assert threshold_of(study_of(frame, threshold={"kind": "quantile", "value": 0.3})) == 0.95


def test_c5_is_decided_by_blocks_and_lists_the_share_at_each_granularity() -> None:
    frame = drawn()
    found = c5(analyse(study_of(frame)))
    blocks = frame[frame["granularity"] == "block"]["similarity"]
    modules = frame[frame["granularity"] == "module"]["similarity"]
    assert found.numbers.startswith(f"{100 * (blocks < 0.95).mean():.1f} % of the layer vectors")
    assert found.detail == tuple(
        f"{name}: {100 * (own < 0.95).mean():.1f} % ({(own < 0.95).sum()} of {len(own)})"
        for name, own in (("block", blocks), ("module", modules))
    )
    alone = study_of(frame)
    without = Study(alone.scores, alone.items, meta=alone.meta, granular=frame)
    assert c5(analyse(without)).numbers == found.numbers
    assert c5(analyse(study_of(by_hand()))).detail == ()


@pytest.mark.draws
def test_a_study_of_layers_alone_answers_about_layers_first(tmp_path: Path) -> None:
    study = study_of(drawn())
    found = findings(analyse(study))
    assert found.answers[0].short == "the late ones"
    assert "(claim C4) is supported" in found.headline
    assert f"(claim C5) is {c5(analyse(study)).verdict}" in found.headline
    summary = summarise(study, tmp_path)
    assert summary.table.startswith("Layer statistics at threshold 0.95")
    assert max(map(len, summary.table.splitlines())) <= 110
    names = {str(file.relative_to(tmp_path)) for file in summary.files}
    assert {"tables/layers.md", "tables/layers.csv", "figures/layers.svg", "figures/similarity.svg"} <= names
    assert not {name for name in names if "overview" in name or "models" in name}
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert page.index('id="layers"') < page.index('id="claims"')
    assert page.count('id="layers"') == 1
    assert "12 blocks × 2 experts" in page
    assert "items a task" not in page


def test_layers_alone_are_stored_and_read_back_byte_for_byte(tmp_path: Path) -> None:
    study = study_of(drawn())
    summarise(study, tmp_path / "a")
    read = stored.load(tmp_path / "a")
    assert stored.files(read) == stored.files(study)
    assert read.scores.empty
    pd.testing.assert_frame_equal(read.granular, study.granular)
    assert c4(analyse(read.at())) == c4(analyse(study))
    summarise(study, tmp_path / "b")
    for file in (tmp_path / "a").rglob("*.*"):
        assert file.read_bytes() == (tmp_path / "b" / file.relative_to(tmp_path / "a")).read_bytes()


def test_a_study_with_merges_has_the_table_and_keeps_its_own_headline(tmp_path: Path) -> None:
    study = replace(make_study(methods=("ta", "ties"), merges=("math+code",), items=20), granular=drawn((0,)))
    assert has_layers(analyse(study))
    summary = summarise(study, tmp_path)
    assert "Layer statistics" not in summary.table
    assert (tmp_path / "tables" / "layers.md").is_file()
    assert "claim C4" not in summary.headline
    assert json.loads((tmp_path / "study.json").read_text())["granular"]["depth"][:2] == [0, 0]


def test_one_granularity_beside_merges_is_what_the_similarities_show_already() -> None:
    study = replace(make_study(methods=("ta",), merges=("math+code",), items=20), granular=by_hand())
    assert not has_layers(analyse(study))


def test_a_study_of_nothing_is_refused() -> None:
    empty = study_of(drawn())
    with pytest.raises(ValueError, match="evaluate at least one model"):
        Study(empty.scores, empty.items)
    with pytest.raises(ValueError, match=r"study.granular lacks the columns depth"):
        replace(empty, granular=empty.granular.drop(columns="depth"))


def test_a_sweep_shows_its_layers_too(tmp_path: Path) -> None:
    sweep = replace(make_sweep({"ta": Truth(9.0, 0.8)}, (0.4, 0.8), items=12), granular=drawn((0,)))
    summary = summarise_sweep(sweep, tmp_path)
    assert "layers.md" in {file.name for file in summary.files}
    assert (tmp_path / "report.html").read_text(encoding="utf-8").count('id="layers"') == 1
