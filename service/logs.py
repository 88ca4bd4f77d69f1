"""Sets up logging: every logger's lines, structlog's and the standard library's alike, leave through one renderer."""

import logging
import sys
from typing import Literal

import structlog
from structlog.typing import Processor

LogFormat = Literal["console", "json"]

_SHARED: tuple[Processor, ...] = (
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.StackInfoRenderer(),
)


OWN = ("service", "model_store")
"""Whose debugging is wanted. Libraries debug with whole messages, headers and queries, where texts and keys are."""


def configure(*, log_format: LogFormat, level: str) -> None:
    """Send all log lines of this process to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=_SHARED,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_renderers(log_format)],
        )
    )
    least = logging.getLevelNamesMapping()[level.upper()]
    logging.basicConfig(handlers=[handler], level=max(least, logging.INFO), force=True)
    for name in OWN:
        logging.getLogger(name).setLevel(least)
    # Wren logs a line a request with more in it than theirs.
    for name in ("uvicorn.access", "httpx"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # It logs every WebSocket with its query, in which a browser's key is; Wren logs one line a session without it. And
    # it takes every handshake that is refused with a response for a fault.
    logging.getLogger("uvicorn.error").addFilter(_is_no_handshake)
    # It warns of every malformed body, which is the client's fault and in the answer.
    logging.getLogger("python_multipart").setLevel(logging.ERROR)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *_SHARED,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
    )


def _is_no_handshake(record: logging.LogRecord) -> bool:
    return not any(sign in str(record.msg) for sign in ('"WebSocket %s"', "without completing handshake"))


def _renderers(log_format: LogFormat) -> tuple[Processor, ...]:
    if log_format == "json":
        return structlog.processors.format_exc_info, structlog.processors.JSONRenderer()
    # The pretty ones show local variables: keys and prompts would be in the log, and seconds spent on drawing them.
    plain = structlog.dev.plain_traceback
    return (structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=plain),)
