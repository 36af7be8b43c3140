"""Estimates that follow what happens: how long jobs take, and how wrong that was."""

# RFC 6298, section 2: the gains of TCP's estimate of a round trip.
MEAN_GAIN = 1 / 8
DEVIATION_GAIN = 1 / 4


class RunningTime:
    """Running mean and mean deviation of how long one kind of job takes, s; both 0 before any."""

    def __init__(self) -> None:
        self.mean = 0.0
        self.deviation = 0.0

    def add(self, seconds: float) -> None:
        """Count one more job, RFC 6298's way: the first stands alone, later ones blend in."""
        if not self.mean:
            self.mean, self.deviation = seconds, seconds / 2
            return
        self.deviation += DEVIATION_GAIN * (abs(seconds - self.mean) - self.deviation)
        self.mean += MEAN_GAIN * (seconds - self.mean)


class RunningQuantile:
    """Follows a quantile of what it is shown: a large step up, many small ones down.

    Robbins and Monro's rule (1951): at rest, the share of values above it is 1 - `share`.
    """

    def __init__(self, share: float) -> None:
        self.share = share
        self.value = 0.0

    def add(self, value: float, step: float) -> None:
        """Count one more value, 0 or above; `step` is how far one may move the estimate."""
        up = value > self.value
        self.value = max(0.0, self.value + step * (self.share - (0 if up else 1)))
