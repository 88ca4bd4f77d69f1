from service.engine.failures import Failures
from service.engine.fake import model_info
from service.errors import ModelUnavailable, NoRoom

MANIFEST = model_info("fake", "fp32").manifest


def test_what_is_damaged_is_broken_and_what_lacked_room_is_not() -> None:
    failures = Failures()
    assert failures.broken(MANIFEST) is None
    failures.note(MANIFEST, NoRoom(MANIFEST.name, reason="others are in use"), blocked_s=0.0)
    assert (failures.told(MANIFEST) is not None, failures.broken(MANIFEST)) == (True, None)
    failures.note(MANIFEST, ModelUnavailable(MANIFEST.name, "its file is damaged"), blocked_s=300.0)
    assert "its file is damaged" in (failures.broken(MANIFEST) or "")
    failures.clear(MANIFEST)
    assert failures.broken(MANIFEST) is None
