"""How many windows of a variant are computed together: what was measured to be best, fewer once memory ran out."""

from weakref import WeakKeyDictionary

from service.engine.profile import Hosted


class Portions:
    """For as long as the variant is in memory: what ran out once would again. Safe to use from every thread."""

    def __init__(self) -> None:
        self._rows: WeakKeyDictionary[Hosted, int] = WeakKeyDictionary()
        self._encodings: WeakKeyDictionary[Hosted, int] = WeakKeyDictionary()

    def rows(self, hosted: Hosted) -> int:
        """Of a decode batch."""
        return min(hosted.profile.rows, self._rows.get(hosted, hosted.profile.rows))

    def encodings(self, hosted: Hosted) -> int:
        """Of an encoder batch, at most."""
        most = hosted.recognizer.backend.encoder_rows
        return min(most, self._encodings.get(hosted, most))

    def halve_rows(self, hosted: Hosted, rows: int) -> None:
        """There was no memory for a decode batch of so many."""
        self._rows[hosted] = max(1, min(self.rows(hosted), rows // 2))

    def halve_encodings(self, hosted: Hosted, rows: int) -> None:
        """There was none for an encoder batch of so many."""
        self._encodings[hosted] = max(1, min(self.encodings(hosted), rows // 2))
