"""Windows of a time series as the target of a flow: a generative model of days of a load curve."""

import numpy as np

HOURS = 24


def series(num_days: int, seed: int = 0) -> np.ndarray:
    """Simulate hourly loads of a small town: two peaks a day, another level on two days of seven, noise that lasts for hours.

    Put your own series here, for instance `np.loadtxt("load.csv")`.
    """
    rng = np.random.default_rng(seed)
    hours = np.arange(num_days * HOURS)
    hour, day = hours % HOURS, hours // HOURS
    workday = day % 7 < 5
    morning = np.exp(-0.5 * ((hour - 8) / 1.5) ** 2) * workday
    evening = np.exp(-0.5 * ((hour - 19) / 2.5) ** 2)
    noise = np.zeros(len(hours))
    shocks = rng.normal(size=len(hours))
    for i in range(1, len(hours)):
        noise[i] = 0.9 * noise[i - 1] + 0.15 * shocks[i]
    return 1.0 + 1.2 * morning + 1.6 * evening + noise


def days(length: int = HOURS, num_days: int = 2000) -> tuple[np.ndarray, np.ndarray]:
    """Cut a series into windows (n, length): those to train on, and later ones that are held out.

    A pair of arrays says which is which. One array would be divided by chance, and overlapping windows would be on both sides.

    Args:
        length: hours of a window.
        num_days: of the series.
    """
    load = series(num_days)
    cut = int(0.8 * len(load))
    train, test = (np.lib.stride_tricks.sliding_window_view(part, length)[::HOURS] for part in (load[:cut], load[cut:]))
    return train, test
