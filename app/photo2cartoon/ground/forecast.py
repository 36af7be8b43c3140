"""Estimates that follow what happens: how long jobs take, and how far predictions are off."""

from collections import deque

# RFC 6298, section 2: the gains with which TCP estimates a round trip.
MEAN_GAIN = 1 / 8
DEVIATION_GAIN = 1 / 4


class RunningTime:
    """Running mean and mean deviation of how long one kind of job takes, s; both start at 0."""

    def __init__(self) -> None:
        self.mean = 0.0
        self.deviation = 0.0

    def add(self, seconds: float) -> None:
        """Count one more job as RFC 6298 does: the first is taken as it is, later ones blend in."""
        if not self.mean:
            self.mean, self.deviation = seconds, seconds / 2
            return
        self.deviation += DEVIATION_GAIN * (abs(seconds - self.mean) - self.deviation)
        self.mean += MEAN_GAIN * (seconds - self.mean)


class RunningQuantile:
    """Follows a quantile of the values it is shown: by large steps up and many small ones down.

    By the rule of Robbins and Monro (1951), a share of 1 - `share` of the values is above the
    estimate once it has settled. The small steps would take thousands of values to come back from a
    bad hour, so the estimate is never above the largest of the last 2 / (1 - `share`) values, which
    is seldom below the quantile.
    """

    def __init__(self, share: float) -> None:
        self.share = share
        self.value = 0.0
        self._last: deque[float] = deque(maxlen=round(2 / (1 - share)))

    def add(self, value: float, step: float) -> None:
        """Count one more value, 0 or above, which moves the estimate up by `step` at most."""
        up = value > self.value
        self._last.append(value)
        moved = self.value + step * (self.share - (0 if up else 1))
        full = len(self._last) == self._last.maxlen
        self.value = max(0.0, min(moved, max(self._last)) if full else moved)
