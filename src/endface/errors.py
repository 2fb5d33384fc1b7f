"""The five kinds of error a user can meet, each saying what was expected, found and what to do."""

from __future__ import annotations


class EndfaceError(Exception):
    """Base of all errors that are the input's or the settings' fault, never a bug.

    Parameters
    ----------
    message : str
        What was expected, what was found, in which file.
    hint : str
        What the user can do about it, one sentence.

    Attributes
    ----------
    stopped : bool
        Whether work was under way that the same command goes on with.
    """

    stopped = False

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class InputError(EndfaceError):
    """An input file or array cannot be used."""


class SettingsError(EndfaceError):
    """A setting, profile or command-line option is wrong."""


class CalibrationError(EndfaceError):
    """Micrometres were asked for where the pixel pitch is unknown or impossible."""


class FormatError(EndfaceError):
    """A file of ours or of another tool does not follow its format."""


class ModelError(EndfaceError):
    """A trained model cannot be loaded or does not fit its description."""
