from pathlib import Path

import pytest

from model_store.evaluate.serving import Serving
from service.origins import WrongSettings


def test_what_is_evaluated_is_served_with_the_settings_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "wren.toml").write_text('device = "gpu"')
    monkeypatch.chdir(tmp_path)
    with pytest.raises(WrongSettings, match=r"device in wren\.toml: 'gpu' is no device"):
        Serving(tmp_path, "whisper-tiny.en:int8", threads=1)
