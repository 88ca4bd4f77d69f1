"""The bytes of an upload in, memory or a file with them out.

All uploads share one budget of memory, so that many at once cannot fill the machine. One that outgrows what is left of
it moves to a temporary file, which is gone when the upload is closed.
"""

import tempfile
import threading
from io import BytesIO
from pathlib import Path
from typing import IO


class Spool:
    """The memory that uploads may take together. Uploads write from several threads."""

    def __init__(self, memory_bytes: int) -> None:
        self._free_bytes = memory_bytes
        self._lock = threading.Lock()

    @property
    def free_bytes(self) -> int:
        return self._free_bytes

    def take(self, count: int) -> bool:
        """Reserve so many bytes, all or none."""
        with self._lock:
            fits = count <= self._free_bytes
            self._free_bytes -= count if fits else 0
            return fits

    def give_back(self, count: int) -> None:
        with self._lock:
            self._free_bytes += count


class Upload:
    """The bytes of one file: in memory while there is room in the spool, then in a temporary file; until `close`."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._memory = BytesIO()
        self._file: IO[bytes] | None = None
        self._taken_bytes = 0
        self.size = 0

    @property
    def on_disk(self) -> bool:
        return self._file is not None

    def write(self, data: bytes) -> None:
        if self._file is None and self._spool.take(len(data)):
            self._taken_bytes += len(data)
            self._memory.write(data)
        else:
            file = self._file or self._move_to_disk()
            file.write(data)
        self.size += len(data)

    def audio(self) -> bytes | Path:
        """What was uploaded. A path is valid until `close`."""
        if self._file is None:
            return self._memory.getvalue()
        self._file.flush()
        return Path(self._file.name)

    def close(self) -> None:
        """Free the memory or delete the file; a second call does nothing."""
        if self._file is not None:
            self._file.close()
        self._leave_memory()

    def _move_to_disk(self) -> IO[bytes]:
        # Closing deletes it, and so does the garbage collector if the process is torn down in between.
        self._file = tempfile.NamedTemporaryFile(prefix="wren-upload-")  # noqa: SIM115
        self._file.write(self._memory.getvalue())
        self._leave_memory()
        return self._file

    def _leave_memory(self) -> None:
        self._memory.close()
        self._spool.give_back(self._taken_bytes)
        self._taken_bytes = 0
