"""Estimates with intervals, from NumPy, SciPy and scikit-learn alone.

Tests compare the package's figures with these. Nothing here imports the package. Photographs of one
patient or capture session form a group, and every interval allows for groups.
"""

import numpy as np
from scipy.optimize import brentq, minimize_scalar
from scipy.special import expit, logit, xlogy
from scipy.stats import norm
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import cohen_kappa_score, roc_auc_score

Z_TWO_SIDED, Z_ONE_SIDED = norm.ppf(0.975), norm.ppf(0.95)
RESAMPLES = 400


def grades_of(shares):
    """The median grade: the highest grade that has a probability of at least 0.5 or worse."""
    return sum((shares[:, grade:].sum(axis=1) >= 0.5).astype(int) for grade in (1, 2, 3, 4))


def design_effect(values, groups):
    departures = values - values.mean()
    sums = [departures[groups == name].sum() for name in np.unique(groups)]
    independent = (departures**2).sum()
    return max(1.0, np.square(sums).sum() / independent) if independent else 1.0


def wilson(is_right, groups):
    """Wilson's limits in closed form, with the photographs divided by the design effect.

    Where nothing varies, each group counts as one photograph.
    """
    share, z2 = is_right.mean(), Z_TWO_SIDED**2
    n = len(is_right) / design_effect(is_right.astype(float), groups)
    if share in {0, 1}:
        n = len(set(groups))
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = np.sqrt(z2 * share * (1 - share) / n + z2**2 / (4 * n**2)) / (1 + z2 / n)
    return share, centre - half, centre + half


def error_of_sum(departures, groups):
    sums = np.array([departures[groups == name].sum() for name in np.unique(groups)])
    return np.sqrt(len(sums) / (len(sums) - 1) * (sums**2).sum())


def placements(ill, scores):
    """For each photograph, the share of the other side that it is ranked rightly against."""
    wins = np.sign(scores[ill][:, None] - scores[~ill][None, :]) / 2 + 0.5
    found = np.empty(len(ill))
    found[ill], found[~ill] = wins.mean(axis=1), wins.mean(axis=0)
    return found - roc_auc_score(ill, scores)


def error_of_area(ill, departures, groups):
    """Obuchowski's standard error (Biometrics 1997) from the departures of the placements."""
    names = np.unique(groups)
    on = {
        side: np.array([departures[(groups == name) & (ill == side)].sum() for name in names])
        for side in (True, False)
    }
    many = {side: len(np.unique(groups[ill == side])) for side in (True, False)}
    counts = {True: ill.sum(), False: (~ill).sum()}
    variance = sum(
        many[side] / (many[side] - 1) * (on[side] ** 2).sum() / counts[side] ** 2
        for side in (True, False)
    )
    both = len(names) / (len(names) - 1) * 2 * (on[True] * on[False]).sum()
    return np.sqrt(variance + both / (counts[True] * counts[False]))


def area(ill, scores, groups):
    value = roc_auc_score(ill, scores)
    error = error_of_area(ill, placements(ill, scores), groups)
    half = Z_TWO_SIDED * error / (value * (1 - value))
    return value, expit(logit(value) - half), expit(logit(value) + half)


def observed_over_expected(ill, chances, groups):
    ratio = ill.sum() / chances.sum()
    factor = np.exp(Z_TWO_SIDED * error_of_sum(ill - ratio * chances, groups) / ill.sum())
    return ratio, ratio / factor, ratio * factor


def slope(ill, chances, groups):
    logits = logit(np.clip(chances, 1e-6, 1 - 1e-6))
    fit = LogisticRegression(C=np.inf, tol=1e-10, max_iter=10_000).fit(logits[:, None], ill)
    fitted = fit.predict_proba(logits[:, None])[:, 1]
    design = np.stack([np.ones(len(ill)), logits], axis=1)
    bread = np.linalg.inv(design.T @ (design * (fitted * (1 - fitted))[:, None]))
    error = error_of_sum((design * (ill - fitted)[:, None]) @ bread[1], groups)
    value = fit.coef_[0, 0]
    return value, value - Z_TWO_SIDED * error, value + Z_TWO_SIDED * error


def resampled(statistic, groups, tails):
    """Limits by a bootstrap that draws whole sessions by name."""
    random = np.random.default_rng(11)
    members = [np.flatnonzero(groups == name) for name in np.unique(groups)]
    many = len(members)
    drawn = [
        statistic(np.concatenate([members[at] for at in random.integers(0, many, many)]))
        for _ in range(RESAMPLES)
    ]
    return np.quantile(drawn, tails)


def with_limits(statistic, groups):
    everyone = np.arange(len(groups))
    return statistic(everyone), *resampled(statistic, groups, (0.025, 0.975))


def kappa_of(labels, grades):
    return lambda at: cohen_kappa_score(
        labels[at], grades[at], weights="quadratic", labels=range(5)
    )


def calibration_error(labels, shares, groups):
    confidence, is_right = shares.max(axis=1), shares.argmax(axis=1) == labels
    bins = np.minimum((confidence * 10).astype(int), 9)

    def error(at):
        sums = np.bincount(bins[at], weights=(confidence - is_right)[at], minlength=10)
        return np.abs(sums).sum() / len(at)

    value, _, high = with_limits(error, groups)
    return value, max(0.0, 2 * value - high), high


def paired_change(before, after, groups, z):
    """The change of a rate and Tango's lower limit, from a numerical maximum likelihood."""
    gained, lost = (~before & after).sum(), (before & ~after).sum()
    effect = design_effect(after.astype(float) - before, groups) if gained + lost else 1.0
    g, l, n = gained / effect, lost / effect, len(before) / effect  # noqa: E741

    def distance(change):
        def minus_log_likelihood(rate_lost):
            rest = 1 - 2 * rate_lost - change
            return -(xlogy(g, rate_lost + change) + xlogy(l, rate_lost) + xlogy(n - g - l, rest))

        bounds = (max(0.0, -change), (1 - change) / 2)
        rate_lost = minimize_scalar(
            minus_log_likelihood, bounds=bounds, method="bounded", options={"xatol": 1e-12}
        ).x
        spread = np.sqrt(n * (2 * rate_lost + change - change**2))
        return (g - l - n * change) / spread - z

    value = (gained - lost) / len(before)
    return value, brentq(distance, -0.99, value - 1e-9)
