"""The error for requests that CloudWatch refuses."""

from __future__ import annotations


class MonitoringError(Exception):
    """A request that CloudWatch refuses.

    Attributes:
        code: The code of the error, for example ``ValidationError``.
        message: The message for the client.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def make_validation_error(message: str) -> MonitoringError:
    """Make an error with the code ``ValidationError``, CloudWatch's code for an invalid request."""
    return MonitoringError("ValidationError", message)


def make_parameter_error(message: str) -> MonitoringError:
    """Make the error for a parameter with a value that is not allowed."""
    return MonitoringError("InvalidParameterValue", message)


def make_combination_error(message: str) -> MonitoringError:
    """Make the error for parameters that do not go together."""
    return MonitoringError("InvalidParameterCombination", message)
