#!/usr/bin/env python3
"""Scales the tone-mapping trials with scipy and choix, as a check of juror-stats (needs numpy, scipy, choix).

    scripts/scale-tone-mapping.py ../shared/ratings/tone_mapping_pairs.csv > crates/juror-stats/tests/golden/tone_mapping_scores.json

For each scene: maximum a posteriori scores of the conditions (alphabetical) with a prior N(0, 1 / lambda), lambda = 0.1.
Thurstone Case V by scipy's trust-region Newton on an objective written here; Bradley-Terry by choix (whose alpha is
lambda / 2). Only these aggregated scores may be shipped, not the trials.
"""
import csv
import json
import sys

import choix
import numpy as np
from scipy.optimize import minimize, root
from scipy.stats import norm

LAMBDA = 0.1


def thurstone(n, wins):
    winner, loser = np.array(wins).T

    def objective(q):
        return -norm.logcdf(q[winner] - q[loser]).sum() + LAMBDA / 2 * q @ q

    def gradient(q):
        d = q[winner] - q[loser]
        mills = np.exp(norm.logpdf(d) - norm.logcdf(d))
        g = LAMBDA * q
        np.add.at(g, winner, -mills)
        np.add.at(g, loser, mills)
        return g

    def hessian(q):
        d = q[winner] - q[loser]
        mills = np.exp(norm.logpdf(d) - norm.logcdf(d))
        w = mills * (mills + d)
        h = LAMBDA * np.eye(n)
        np.add.at(h, (winner, winner), w)
        np.add.at(h, (loser, loser), w)
        np.add.at(h, (winner, loser), -w)
        np.add.at(h, (loser, winner), -w)
        return h

    near = minimize(objective, np.zeros(n), jac=gradient, hess=hessian, method="trust-exact").x
    found = root(gradient, near, jac=hessian, tol=1e-14)  # beyond where the rounded objective stalls
    assert np.abs(gradient(found.x)).max() < 1e-9
    return found.x


def main():
    scenes = {}
    with open(sys.argv[1], newline="") as file:
        for row in csv.DictReader(file):
            scenes.setdefault(row["scene"], []).append(row)
    result = {"lambda": LAMBDA, "scenes": {}}
    for scene, rows in sorted(scenes.items()):
        conditions = sorted({row[k] for row in rows for k in ("condition_A", "condition_B")})
        at = {name: i for i, name in enumerate(conditions)}
        wins = []
        for row in rows:
            a, b = at[row["condition_A"]], at[row["condition_B"]]
            wins.append((a, b) if row["is_A_selected"] == "1" else (b, a))
        n = len(conditions)
        result["scenes"][scene] = {
            "trials": len(rows),
            "conditions": conditions,
            "thurstone": thurstone(n, wins).tolist(),
            "bradley_terry": choix.opt_pairwise(n, wins, alpha=LAMBDA / 2, tol=1e-12).tolist(),
        }
    json.dump(result, sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main()
