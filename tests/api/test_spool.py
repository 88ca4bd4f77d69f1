import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from service.api.spool import Spool, Upload


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_upload_that_fills_the_room_stays_in_memory_and_one_more_byte_moves_it(folder: Path) -> None:
    spool = Spool(3)
    upload = Upload(spool)
    upload.write(b"abc")
    assert (upload.audio(), spool.free_bytes) == (b"abc", 0)
    upload.write(b"d")
    path = upload.audio()
    assert isinstance(path, Path)
    assert (path.read_bytes(), spool.free_bytes) == (b"abcd", 3)
    upload.close()
    assert list(folder.iterdir()) == []


def test_room_is_shared_and_free_again_when_an_upload_is_closed() -> None:
    spool = Spool(5)
    first, second, third = Upload(spool), Upload(spool), Upload(spool)
    first.write(b"abc")
    second.write(b"abc")
    assert (first.on_disk, second.on_disk) == (False, True)
    first.close()
    first.close()
    assert spool.free_bytes == 5
    third.write(b"abc")
    assert not third.on_disk


def test_upload_on_disk_takes_no_room_again() -> None:
    spool = Spool(3)
    upload = Upload(spool)
    for data in (b"abcd", b"e", b"f"):
        upload.write(data)
    assert (upload.size, spool.free_bytes) == (6, 3)


def test_without_room_every_upload_is_a_file() -> None:
    upload = Upload(Spool(0))
    upload.write(b"a")
    assert upload.on_disk
    upload.close()


def test_room_adds_up_when_threads_take_it_at_once() -> None:
    spool = Spool(1000)

    def use(_: int) -> int:
        taken = sum(spool.take(7) for _ in range(200))
        spool.give_back(7 * taken)
        return taken

    with ThreadPoolExecutor(8) as pool:
        assert max(pool.map(use, range(64))) <= 200
    assert spool.free_bytes == 1000
