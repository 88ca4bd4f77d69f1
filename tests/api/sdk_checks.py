"""What users do with the openai SDK, a check each; run by the Python of an environment that has some version of it.

`python -m tests.api.sdk_checks BASE_URL KEY RECORDING WORD` prints a JSON object: the name of each check with what went
wrong in it, or null. WORD must be in the transcript. It runs with every version from 1.109.
"""

import asyncio
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openai

from tests.api.checking import check, run

BASE_URL, KEY, _recording, WORD = sys.argv[1:]
RECORDING = Path(_recording)
CLIENT = openai.OpenAI(base_url=BASE_URL, api_key=KEY, max_retries=0)


def transcribe(**options: Any) -> Any:
    """The most common call, with the name of a cloud model."""
    return CLIENT.audio.transcriptions.create(**{"file": RECORDING, "model": "whisper-1", **options})


@check
def json_is_the_default() -> None:
    result = transcribe()
    assert WORD in result.text.lower(), result
    assert result.usage.type == "duration", result
    assert result.usage.seconds >= 1, result


@check
def text_is_a_plain_string() -> None:
    result = transcribe(response_format="text")
    assert isinstance(result, str), type(result)
    assert WORD in result.lower()
    assert result.endswith("\n")
    assert not result.endswith("\n\n")


@check
def verbose_json_has_segments_and_words() -> None:
    result = transcribe(response_format="verbose_json", timestamp_granularities=["word", "segment"], language="en")
    assert result.language == "english", result.language
    assert isinstance(result.duration, float), type(result.duration)
    assert result.task == "transcribe", result
    assert WORD in result.text.lower()
    assert result.segments, result
    assert result.words, result
    assert all(word.start <= word.end <= result.duration + 0.5 for word in result.words), result.words
    assert any(WORD in word.word.lower() for word in result.words), result.words
    for number, segment in enumerate(result.segments):
        assert segment.id == number
        assert None not in segment.model_dump().values(), segment
        assert 0 <= segment.start <= segment.end <= result.duration + 0.5, segment


@check
def verbose_json_has_no_words_unless_asked() -> None:
    assert transcribe(response_format="verbose_json").words is None


@check
def srt_is_well_formed() -> None:
    result = transcribe(response_format="srt")
    pattern = r"(\d+\n\d{2}:\d{2}:\d{2},\d{3} --> \d{2}:\d{2}:\d{2},\d{3}\n[^\n]+\n\n)+"
    assert re.fullmatch(pattern, result), result


@check
def vtt_is_well_formed() -> None:
    result = transcribe(response_format="vtt")
    pattern = r"WEBVTT\n\n(\d{2}:\d{2}:\d{2}\.\d{3} --> \d{2}:\d{2}:\d{2}\.\d{3}\n[^\n]+\n\n)+"
    assert re.fullmatch(pattern, result), result


@check
def stream_adds_up_to_the_text() -> None:
    events = list(transcribe(model="gpt-4o-mini-transcribe", stream=True))
    *deltas, done = events
    assert {event.type for event in deltas} == {"transcript.text.delta"}, events
    assert done.type == "transcript.text.done", done
    assert "".join(event.delta for event in deltas) == done.text, events
    assert WORD in done.text.lower()
    assert done.usage.total_tokens == done.usage.input_tokens + done.usage.output_tokens > 0


@check
def stream_carries_logprobs() -> None:
    events = list(transcribe(model="gpt-4o-transcribe", stream=True, include=["logprobs"]))
    assert all(event.logprobs for event in events), events


@check
def logprobs_spell_the_text() -> None:
    result = transcribe(model="gpt-4o-transcribe", include=["logprobs"])
    spelled = bytes(int(byte) for entry in result.logprobs for byte in entry.bytes).decode()
    assert spelled.split() == result.text.split(), (spelled, result.text)
    assert all(entry.logprob <= 0 for entry in result.logprobs), result.logprobs


@check
def every_option_is_accepted() -> None:
    vad = {"type": "server_vad", "threshold": 0.5, "prefix_padding_ms": 300, "silence_duration_ms": 500}
    extras = {"hotwords": WORD, "vad_filter": True, "keywords": [WORD], "languages": ["en"], "anything": {"else": 1}}
    for chunking in ("auto", vad):
        result = transcribe(
            language="en", prompt="Hello.", temperature=0.2, chunking_strategy=chunking, extra_body=extras
        )
        assert result.text


@check
def translation_is_english() -> None:
    translate = CLIENT.audio.translations.create
    assert WORD in translate(file=RECORDING, model="whisper-1").text.lower()
    verbose = translate(file=RECORDING, model="whisper-1", response_format="verbose_json")
    assert verbose.language == "english", verbose
    assert verbose.segments, verbose
    assert translate(file=RECORDING, model="whisper-1", response_format="vtt").startswith("WEBVTT\n\n00:")


@check
def models_are_listed_and_found_by_id() -> None:
    listed = CLIENT.models.list().data
    assert listed
    for model in listed:
        found = CLIENT.models.retrieve(model.id)
        passing = {"idle_s": None, "leases": 0}  # what a moment changes
        assert {**found.model_dump(), **passing} == {**model.model_dump(), **passing}, (found, model)
        assert found.model_extra["serves"].startswith(model.id)
        assert found.model_extra["state"] in ("available", "loading", "loaded", "draining", "failed")


@check
def listed_variants_can_be_asked_for() -> None:
    loaded = [model for model in CLIENT.models.list().data if model.model_extra["state"] == "loaded"]
    raw = CLIENT.audio.transcriptions.with_raw_response.create(file=RECORDING, model=loaded[-1].id)
    assert raw.headers["x-wren-variant"] == loaded[-1].model_extra["serves"]
    assert raw.headers["x-request-id"]
    assert int(raw.headers["openai-processing-ms"]) >= 0
    assert "total;dur=" in raw.headers["server-timing"]


@check
def precision_is_a_wish_and_a_variant_an_order() -> None:
    loaded = next(model for model in CLIENT.models.list().data if model.model_extra["state"] == "loaded")
    serves, precision = loaded.model_extra["serves"], loaded.model_extra["precision"]
    create = CLIENT.audio.transcriptions.with_raw_response.create
    for extras in ({"precision": precision, "keep_alive": "5m"}, {"variant": serves.partition(":")[2]}):
        raw = create(file=RECORDING, model=serves.partition(":")[0], extra_body=extras)
        assert raw.headers["x-wren-variant"] == serves, raw.headers
        assert raw.headers["x-wren-variant-reason"], raw.headers
    for wish in ("auto", "fp32", "fp16", "bf16", "int8", "int4", "mixed"):
        assert transcribe(extra_body={"precision": wish, "keep_alive": -1}).text
    stream = create(file=RECORDING, model="whisper-1", stream=True, extra_body={"precision": precision})
    assert stream.headers["x-wren-variant"], stream.headers
    assert list(stream.parse())


@check
def asynchronous_client_works() -> None:
    async def ask() -> tuple[str, str]:
        async with openai.AsyncOpenAI(base_url=BASE_URL, api_key=KEY) as client:
            create = client.audio.transcriptions.create
            whole = await create(file=RECORDING, model="whisper-1")
            events = [event async for event in await create(file=RECORDING, model="whisper-1", stream=True)]
        return whole.text, events[-1].text

    whole, streamed = asyncio.run(ask())
    assert whole == streamed, (whole, streamed)
    assert WORD in whole.lower()


def refused(kind: type[openai.APIStatusError], call: Callable[[], object]) -> openai.APIStatusError:
    try:
        answer = call()
    except kind as error:
        refusal = error
    else:
        raise AssertionError(f"not refused: {answer}")
    assert refusal.message
    assert refusal.type
    assert refusal.request_id
    return refusal


@check
def unknown_model_is_not_found() -> None:
    for call in (lambda: transcribe(model="no/such:model"), lambda: CLIENT.models.retrieve("no/such:model")):
        error = refused(openai.NotFoundError, call)
        assert (error.code, error.param) == ("model_not_found", "model"), error


@check
def wrong_option_is_a_bad_request() -> None:
    assert refused(openai.BadRequestError, lambda: transcribe(response_format="xml")).param == "response_format"
    assert refused(openai.BadRequestError, lambda: transcribe(temperature=7)).param == "temperature"
    assert refused(openai.BadRequestError, lambda: transcribe(stream=True, language="klingon")).param == "language"
    error = refused(openai.BadRequestError, lambda: transcribe(extra_body={"precision": "fp7"}))
    assert error.param == "precision", error
    error = refused(openai.BadRequestError, lambda: transcribe(extra_body={"variant": "no-such"}))
    assert error.param == "variant", error
    error = refused(openai.BadRequestError, lambda: transcribe(extra_body={"keep_alive": "long"}))
    assert error.param == "keep_alive", error


@check
def empty_file_is_a_bad_request() -> None:
    error = refused(openai.BadRequestError, lambda: transcribe(file=("empty.wav", b"")))
    assert (error.code, error.param) == ("empty_audio", "file"), error


@check
def wrong_key_fails_authentication() -> None:
    stranger = openai.OpenAI(base_url=BASE_URL, api_key="wrong", max_retries=0)
    for call in (
        stranger.models.list,
        lambda: stranger.audio.transcriptions.create(file=RECORDING, model="whisper-1"),
    ):
        assert refused(openai.AuthenticationError, call).code == "invalid_api_key"


if __name__ == "__main__":
    run()
