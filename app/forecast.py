"""RunningTime: how long a kind of job takes, from how long the last ones took."""

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
