"""The first bytes of a file in, its container out: never by name, never by what the client calls it.

It also is the gate to FFmpeg. A known container is opened with its own demuxer and no other; what is unknown may be
probed for `PROBED_DEMUXERS` alone. So a playlist (HLS, DASH, concat) or an image sequence that names other files or
addresses is never followed.
"""

from dataclasses import dataclass
from typing import BinaryIO

from service.errors import EmptyAudio, UndecodableAudio

HEAD_BYTES = 4096
_TS_PACKET = 188
LIVE_HEAD_BYTES = _TS_PACKET + 4
"""What is waited for of a live stream: the least that tells all of them apart, and less than any has without sound."""
_MAX_TAGS = 8
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")


@dataclass(frozen=True, slots=True)
class Container:
    """`name` as users call it; `demuxer` as FFmpeg does, None where the bytes say nothing and FFmpeg must probe."""

    name: str
    demuxer: str | None


UNKNOWN = Container("unknown", None)

PROBED_DEMUXERS = (
    *("aac", "ac3", "act", "amr", "amrnb", "amrwb", "ape", "au", "avi", "dts", "eac3", "flac", "gsm", "ircam", "loas"),
    *(
        "matroska",
        "mov",
        "mp3",
        "mpc",
        "mpc8",
        "mpeg",
        "mpegts",
        "ogg",
        "qcp",
        "rm",
        "shn",
        "truehd",
        "voc",
        "wav",
        "xwma",
    ),
)
"""Each holds its audio in itself and has no way to name another file."""

_MAGIC: tuple[tuple[int, bytes, Container], ...] = (
    (0, b"fLaC", Container("flac", "flac")),
    (0, b"OggS", Container("ogg", "ogg")),
    (4, b"ftypM4A", Container("m4a", "mov")),
    (4, b"ftypqt", Container("mov", "mov")),
    (4, b"ftyp3g", Container("3gp", "mov")),
    (4, b"ftyp", Container("mp4", "mov")),
    (4, b"styp", Container("mp4", "mov")),
    (4, b"moov", Container("mov", "mov")),
    (4, b"mdat", Container("mov", "mov")),
    (4, b"wide", Container("mov", "mov")),
    (0, b"caff", Container("caf", "caf")),
    (0, b"#!AMR", Container("amr", "amr")),
    (0, bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c"), Container("asf/wma", "asf")),
    (0, b"riff\x2e\x91\xcf\x11", Container("w64", "w64")),
    (0, b".snd", Container("au", "au")),
    (0, b"wvpk", Container("wavpack", "wv")),
    (0, b"TTA1", Container("tta", "tta")),
    (0, b"MAC ", Container("ape", "ape")),
    (0, b"tBaK", Container("tak", "tak")),
    (0, b"MPCK", Container("musepack", "mpc8")),
    (0, b"MP+", Container("musepack", "mpc")),
    (0, b"Creative Voice File", Container("voc", "voc")),
    (0, b"NIST_1A", Container("nist", "nistsphere")),
    (0, b".RMF", Container("realmedia", "rm")),
    (0, b".ra\xfd", Container("realaudio", "rm")),
    (0, b"DSD ", Container("dsf", "dsf")),
    (0, b"FLV\x01", Container("flv", "flv")),
    (0, b"\x0b\x77", Container("ac3", "ac3")),
    (0, b"\x00\x00\x01\xba", Container("mpeg", "mpeg")),
)

_FORMS: dict[tuple[bytes, bytes], Container] = {
    (b"RIFF", b"WAVE"): Container("wav", "wav"),
    (b"RIFX", b"WAVE"): Container("wav", "wav"),
    (b"RF64", b"WAVE"): Container("wav", "wav"),
    (b"BW64", b"WAVE"): Container("wav", "wav"),
    (b"RIFF", b"AVI "): Container("avi", "avi"),
    (b"FORM", b"AIFF"): Container("aiff", "aiff"),
    (b"FORM", b"AIFC"): Container("aiff", "aiff"),
}
"""By the first four bytes and those at 8."""

_NOT_AUDIO = (
    (b"PK\x03\x04", "ZIP archive or office document"),
    (b"%PDF", "PDF document"),
    (b"\x89PNG", "PNG image"),
    (b"\xff\xd8\xff", "JPEG image"),
    (b"GIF8", "GIF image"),
    (b"\x1f\x8b", "gzip archive"),
    (b"BZh", "bzip2 archive"),
    (b"\xfd7zXZ", "xz archive"),
    (b"7z\xbc\xaf", "7-Zip archive"),
    (b"Rar!", "RAR archive"),
    (b"\x7fELF", "ELF program"),
    (b"MThd", "MIDI file (notes, not sound)"),
    (b"SQLite format 3", "SQLite database"),
)

_TEXTS = (
    (b"#extm3u", "M3U or HLS playlist"),
    (b"ffconcat", "concat list"),
    (b"<mpd", "DASH manifest"),
    (b"<!doctype html", "HTML page"),
    (b"<html", "HTML page"),
    (b"<?xml", "XML document"),
    (b"<svg", "SVG image"),
    (b"data:", "data: URL (decode the base64 first)"),
    (b"{", "JSON document"),
    (b"[", "JSON document"),
)


def sniff(file: BinaryIO) -> Container:
    """What the bytes look like. Leaves the file at its start.

    Raises:
        EmptyAudio: there are none.
        UndecodableAudio: they are text, a document, an image or an archive.
    """
    return sniff_head(_head_after_tags(file))


def sniff_head(head: bytes) -> Container:
    """What these bytes begin; `LIVE_HEAD_BYTES` will do. What begins with an ID3 tag passes for mp3.

    Raises: as `sniff`.
    """
    if not head:
        raise EmptyAudio
    known = _form(head) or _by_magic(head) or _frame_stream(head)
    if known is not None:
        return known
    refused = _not_audio(head)
    if refused is not None:
        raise UndecodableAudio(container=refused, codec="none", reason="this is not an audio file")
    return UNKNOWN


def _head_after_tags(file: BinaryIO) -> bytes:
    """The first bytes after any ID3v2 tags, which mp3, AAC and flac files may begin with."""
    start, head = 0, file.read(HEAD_BYTES)
    for _ in range(_MAX_TAGS):
        if len(head) < 10 or not head.startswith(b"ID3"):
            break
        size = sum((byte & 0x7F) << shift for byte, shift in zip(head[6:10], (21, 14, 7, 0), strict=True))
        start += 10 + size
        file.seek(start)
        head = file.read(HEAD_BYTES) or head[:3]
    file.seek(0)
    return head


def _form(head: bytes) -> Container | None:
    if head.startswith(b"\x1aE\xdf\xa3"):
        return Container("webm" if b"webm" in head[:64] else "matroska", "matroska")
    return _FORMS.get((head[:4], head[8:12]))


def _by_magic(head: bytes) -> Container | None:
    for offset, magic, container in _MAGIC:
        if head.startswith(magic, offset):
            return container
    return None


def _frame_stream(head: bytes) -> Container | None:
    """Streams that begin with a frame instead of a header: mp3, AAC (ADTS), MPEG transport."""
    if head.startswith(b"ID3"):
        return Container("mp3", "mp3")
    if len(head) > _TS_PACKET and head[0] == head[_TS_PACKET] == 0x47:
        return Container("mpegts", "mpegts")
    if len(head) < 4 or head[0] != 0xFF or head[1] < 0xE0 or head[:2] in _UTF16_MARKS:
        return None
    layer, rate, bitrate = head[1] >> 1 & 0x03, head[2] >> 2 & 0x03, head[2] >> 4
    if layer == 0:
        return Container("aac", "aac") if head[1] >= 0xF0 else None
    return Container("mp3", "mp3") if rate != 0x03 and bitrate != 0x0F else None


def _not_audio(head: bytes) -> str | None:
    for magic, name in _NOT_AUDIO:
        if head.startswith(magic):
            return name
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WebP image"
    if head[:2] in _UTF16_MARKS and 0 in head[2:4]:
        return "UTF-16 text"
    text = head[:512].removeprefix(b"\xef\xbb\xbf").lstrip()
    if any((byte < 0x20 and byte not in b"\t\n\f\r") or byte == 0x7F for byte in text):
        return None
    return next((name for start, name in _TEXTS if text.lower().startswith(start)), "plain text")
