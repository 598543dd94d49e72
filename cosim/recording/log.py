"""The human log of a run: what cosim's loggers say, one line each, with simulated and wall time."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import IO

from cosim.clock import to_s

LOGGER = "cosim"


class RunLog(logging.Handler):
    """Writes the records of the ``cosim`` loggers (INFO and above) to an open file, until closed.

    ``now_us()`` gives the simulated time.  Lines are flushed one by one, so the log is whole after a kill.
    """

    _former_level = logging.NOTSET
    """The logger's level before the first of the logs now open."""

    def __init__(self, file: IO[str], now_us: Callable[[], int]) -> None:
        super().__init__(logging.INFO)
        self._file = file
        self._now_us = now_us
        logger = logging.getLogger(LOGGER)
        if not _others(logger):
            RunLog._former_level = logger.level
            if logger.getEffectiveLevel() > logging.INFO:
                logger.setLevel(logging.INFO)
        logger.addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._file.write(self.format(record) + "\n")
            self._file.flush()
        except (OSError, ValueError):
            self.handleError(record)

    def format(self, record: logging.LogRecord) -> str:
        """Return ``09:45:00Z      12.300 s  warning  traffic: text``."""
        wall = time.strftime("%H:%M:%SZ", time.gmtime(record.created))
        who = record.name.removeprefix(LOGGER + ".")
        when = f"{wall} {to_s(self._now_us()):12.3f} s"
        line = f"{when}  {record.levelname.lower():<8} {who}: {record.getMessage()}"
        if record.exc_info:
            line += "\n" + logging.Formatter().formatException(record.exc_info)
        return line

    def close(self) -> None:
        """Stop listening; the file stays open for its owner to close."""
        logger = logging.getLogger(LOGGER)
        if self in logger.handlers:
            logger.removeHandler(self)
            if not _others(logger):
                logger.setLevel(RunLog._former_level)
        super().close()


def _others(logger: logging.Logger) -> bool:
    return any(isinstance(handler, RunLog) for handler in logger.handlers)
