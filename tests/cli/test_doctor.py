import json
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from service.audio.libraries import decoding_libraries
from service.backends.onnx_probe import CPU, probe_providers
from service.cli import checks
from service.cli.findings import Finding, as_json, healthy, show
from service.cli.options import get, missing_models
from service.settings import Settings

OK = Finding("python", "ok", "3.11.7")
WARNING = Finding("cpu", "warn", "old", "Use another.")
FAILURE = Finding("model", "fail", "none", "Get it.")


def test_warnings_do_not_make_it_ill() -> None:
    assert healthy([OK, WARNING])
    assert not healthy([OK, FAILURE])


def test_nothing_is_wrong_without_advice() -> None:
    with pytest.raises(ValueError, match="what is to be done"):
        Finding("cpu", "warn", "old")


def test_table_says_what_to_do() -> None:
    page = StringIO()
    show([OK, FAILURE], Console(file=page, width=120))
    assert "fail" in page.getvalue()
    assert "-> Get it." in page.getvalue()


def test_json_is_the_whole_report() -> None:
    report = json.loads(as_json([OK, FAILURE]))
    assert report["ok"] is False
    assert report["findings"][1] == {"point": "model", "state": "fail", "detail": "none", "advice": "Get it."}


def test_this_installation_has_what_it_needs() -> None:
    settings = Settings()
    for check in (checks.check_python, checks.check_packages, checks.check_providers, checks.check_audio):
        assert healthy(list(check(settings)))


def test_machine_is_described() -> None:
    assert [finding.point for finding in checks.check_device(Settings())] == [
        *("cores", "memory", "cpu", "gpu", "torch")
    ]


def test_cpu_provider_computes() -> None:
    (cpu,) = [probe for probe in probe_providers() if probe.provider == CPU]
    assert not cpu.failure
    assert cpu.run_ms > 0


def test_no_codec_is_missing() -> None:
    assert decoding_libraries().missing == ()


def test_empty_store_is_a_failure_with_the_command_to_fill_it(tmp_path: Path) -> None:
    findings = list(checks.check_store(Settings(store=tmp_path, model="whisper-base:int8")))
    assert not healthy(findings)
    assert [finding.advice for finding in findings[1:]] == [
        f"Get it: wren models pull {model} --store {tmp_path}" for model in ("whisper-base", "silero-vad")
    ]


def test_damaged_variant_is_a_failure_that_names_the_file(tmp_path: Path) -> None:
    (tmp_path / "whisper-tiny.en" / "int8").mkdir(parents=True)
    (broken, *_) = checks.check_store(Settings(store=tmp_path))
    assert broken.state == "fail"
    assert "whisper-tiny.en:int8" in broken.detail
    assert "--force" in broken.advice


def test_what_is_missing_is_the_model_and_the_detector(tmp_path: Path) -> None:
    assert missing_models(Settings(store=tmp_path, model="a:b")) == ("a:b", "silero-vad")
    assert missing_models(Settings(store=tmp_path, model="auto")) == ("silero-vad",)


def test_default_store_needs_no_option() -> None:
    assert (
        get(("whisper-base:int8", "silero-vad"), Path(".store")) == "Get it: wren models pull whisper-base silero-vad"
    )
    assert get(("silero-vad",), Path("my store")) == "Get it: wren models pull silero-vad --store 'my store'"
