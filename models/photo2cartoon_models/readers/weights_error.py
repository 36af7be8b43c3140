"""The one error of reading and converting weights."""


class WeightsError(Exception):
    """A file is not weights of this network, or not to be trusted; the message says why."""
