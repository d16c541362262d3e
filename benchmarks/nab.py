"""Score the Numenta Anomaly Benchmark with the default detectors, one configuration for all files.

    python benchmarks/nab.py NAB_FOLDER --scorer nab_score.py

The folder holds data/ and labels/combined_windows.json. The scorer offers `load_corpus`,
`score_corpus` and `sig` as the benchmark defines them; the row's score is our `onset`.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from detectors import ensemble, module, unbounded
from watchkeeper.detectors import Samples

PROFILES = ("standard", "reward_low_FP_rate", "reward_low_FN_rate")


def onsets(corpus: dict[str, Any]) -> dict[str, Any]:
    """Return the onsets of every file, scored in one call as one series each."""
    house = ensemble()
    files = list(corpus.values())
    row = np.repeat(np.arange(len(files), dtype=np.uint32), [file.n for file in files])
    when = np.concatenate([file.t.astype("datetime64[ms]").astype(np.int64) for file in files])
    value = np.concatenate([file.x for file in files])
    samples = Samples(row, when, when, value)
    scores = house.score(house.fresh(len(files)), samples, unbounded(len(files)))[1]
    return {name: scores.onset[row == k] for k, name in enumerate(corpus)}


def show(title: str, result: dict[str, Any]) -> None:
    points = " / ".join(f"{result[profile]['score']:.1f}" for profile in PROFILES)
    best = result["standard"]
    print(f"{title:28s}{points}  threshold {best['threshold']:.2f}", end="")
    print(f"  {best['detected']}/{best['windows']} windows")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("folder")
    options.add_argument("--scorer", type=Path, required=True)
    chosen = options.parse_args()
    scorer = module(chosen.scorer)
    corpus = scorer.load_corpus(chosen.folder)
    found = onsets(corpus)
    print("standard / low false positives / low false negatives")
    show("all files", scorer.score_corpus(corpus, found))
    show("all files, threshold 1", scorer.score_corpus(corpus, found, 1.0))
    names = sorted(corpus)
    for title, chosen_on, judged_on in (
        ("threshold of even, on odd", names[::2], names[1::2]),
        ("threshold of odd, on even", names[1::2], names[::2]),
    ):
        mine = {name: corpus[name] for name in chosen_on}
        threshold = scorer.score_corpus(mine, found)["standard"]["threshold"]
        other = {name: corpus[name] for name in judged_on}
        show(title, scorer.score_corpus(other, found, threshold))


if __name__ == "__main__":
    main()
