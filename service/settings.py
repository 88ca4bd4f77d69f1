"""The environment (`WREN_…`) in, validated settings out. `service.origins` reads the other sources besides."""

import re
from pathlib import Path
from typing import Annotated, Literal, get_args

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from service.units import parse_duration_ms, parse_signing_secret, parse_size

MIB = 2**20
PREFIX = "WREN_"

Listed = Annotated[tuple[str, ...], NoDecode]
"""Comma-separated in the environment."""


def _size(value: object) -> object:
    return parse_size(value) if isinstance(value, str) else value


def _duration_ms(value: object) -> object:
    return parse_duration_ms(value) if isinstance(value, str) else value


def _device(value: object) -> object:
    """The same devices always as the same text."""
    if not isinstance(value, str):
        return value
    names = [name.strip().lower() for name in value.split(",")]
    if names[1:] and not all(re.fullmatch(r"cuda:\d+", name) for name in names):
        names = []
    if not names or not re.fullmatch(r"auto|cpu|cuda(:\d+)?", names[0]) or len(set(names)) < len(names):
        raise ValueError(f"{value[:80]!r} is no device: write auto, cpu, cuda, or some GPUs like cuda:0,cuda:2")
    return ",".join(names)


def _address(value: str | None) -> str | None:
    if value is not None and not re.match("https?://[^/]", value):
        raise ValueError(f"{value[:80]!r} is no address: write one like http://collector:4318")
    return value


def is_secret(name: str) -> bool:
    """Whether what this setting holds is never shown."""
    return _holds_secret(Settings.model_fields[name].annotation)


def _holds_secret(annotation: object) -> bool:
    return annotation is SecretStr or any(map(_holds_secret, get_args(annotation)))


class Settings(BaseSettings):
    """What a deployment can choose. Each field is the variable `WREN_` + its name in capitals."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_ignore_empty=True, frozen=True, hide_input_in_errors=True)

    host: str = Field(default="127.0.0.1", description="Address to listen on; 0.0.0.0 for every interface.")
    port: int = Field(default=8000, ge=0, le=65_535, description="Port to listen on; 0 lets the system choose.")
    store: Path = Field(default=Path(".store"), description="Folder of the model store.")
    model: str = Field(
        default="whisper-tiny.en",
        min_length=1,
        description="Model that `auto` and the cloud names (`whisper-1`, …) mean: `model` or `model:variant`.",
    )
    api_keys: Annotated[tuple[SecretStr, ...], NoDecode] = Field(
        default=(), description="Comma-separated keys, any of which lets a client in; empty lets everyone in."
    )
    keys_file: Path | None = Field(
        default=None, description="File of more keys with their scopes (`wren keys`); read again when it changes."
    )
    metrics_key: bool = Field(
        default=False, description="Whether `/metrics` needs a key of the scope `admin`, as what operators do."
    )
    requests_per_minute: int | None = Field(
        default=None,
        ge=1,
        description="Requests and streams that a key, or without keys an address, may begin in a minute.",
    )
    audio_seconds_per_minute: float | None = Field(
        default=None,
        ge=1,
        allow_inf_nan=False,
        description="Seconds of audio that a key, or without keys an address, may have transcribed in a minute.",
    )
    concurrency: int | None = Field(
        default=None,
        ge=1,
        description="Requests and streams that a key, or without keys an address, may have at once.",
    )
    cors_origins: Listed = Field(
        default=(),
        description="Comma-separated origins whose pages may call, and without keys open WebSockets; `*` for all.",
    )
    max_connections: int | None = Field(
        default=None,
        ge=1,
        description="Requests and WebSockets at once beyond which more are refused with 503; unset is no limit.",
    )
    header_s: float = Field(
        default=10, gt=0, description="Seconds for the headers of a request, after which the connection is closed."
    )
    max_upload_mib: float = Field(default=512, gt=0, allow_inf_nan=False, description="Largest request body, in MiB.")
    max_duration_s: float = Field(default=4 * 3600, gt=0, description="Longest recording, in seconds.")
    max_waiting_s: float | None = Field(
        default=None,
        gt=0,
        description="Seconds of audio in work beyond which more is refused with 429; unset suits the memory there is.",
    )
    fetch_urls: bool = Field(
        default=False, description="Whether recordings are fetched from URLs that clients name, from public hosts."
    )
    fetch_hosts: Listed = Field(
        default=(), description="Comma-separated hosts from which alone they are fetched; these may be private."
    )
    fetch_s: float = Field(default=300, gt=0, description="Seconds that fetching a recording may take in all.")
    spool_mib: float = Field(
        default=16,
        ge=0,
        allow_inf_nan=False,
        description="Memory for all uploads together, in MiB; what does not fit goes to temporary files.",
    )
    upload_idle_s: float = Field(
        default=60, gt=0, description="Seconds without a byte after which an upload is given up with 408."
    )
    max_streams: int | None = Field(
        default=None,
        ge=0,
        description="Live streams at once beyond which more are refused; unset suits what was measured.",
    )
    max_stream_s: float = Field(
        default=4 * 3600, gt=0, description="Seconds after which a live stream is closed, its tail answered."
    )
    stream_idle_s: float = Field(
        default=300,
        gt=0,
        description="Seconds without a message after which an OpenAI Realtime session is closed; Deepgram's are 10.",
    )
    drain_s: float = Field(
        default=0,
        ge=0,
        allow_inf_nan=False,
        description="Seconds for which a server that is told to stop still lets clients in, while `/health/ready`"
        " answers 503: for proxies that look at that.",
    )
    jobs: bool = Field(default=True, description="Whether recordings are taken as jobs (`/v1/jobs`).")
    jobs_folder: Path | None = Field(
        default=None, description="Folder on a local disk that jobs are kept in; unset is `.jobs` in the store."
    )
    jobs_database: SecretStr | None = Field(
        default=None,
        description="Instead of the folder, a PostgreSQL database that several servers share: `postgresql://…`.",
    )
    jobs_parallel: int = Field(default=1, ge=1, le=64, description="Jobs that are recognised at once.")
    jobs_max: int = Field(
        default=1000, ge=1, description="Jobs that may wait or run; more are refused with 429, as with `WREN_JOBS_MIB`."
    )
    jobs_mib: float = Field(
        default=8192, gt=0, allow_inf_nan=False, description="Room for recordings of jobs that wait or run, in MiB."
    )
    jobs_keep_s: float = Field(
        default=7 * 86400,
        gt=0,
        allow_inf_nan=False,
        description="Seconds after its end for which a job and its result are kept; the recording goes at its end.",
    )
    webhook_secret: SecretStr | None = Field(
        default=None,
        description="Signs the webhooks of jobs: `whsec_` and 24 to 64 bytes in Base64; unset refuses webhooks.",
    )
    webhook_hosts: Listed = Field(
        default=(),
        description="Comma-separated hosts, the only ones that webhooks go to, private ones too; empty is all public.",
    )
    grace_s: float = Field(
        default=25,
        ge=0,
        allow_inf_nan=False,
        description="Seconds that requests and streams in work have to finish after that; a stop takes as long as both"
        " at most.",
    )
    keep_alive_s: float = Field(
        default=5, gt=0, description="Seconds of silence after which an event stream sends a comment."
    )
    threads: int | None = Field(
        default=None, ge=1, description="Compute threads; unset takes the cores that are there."
    )
    memory: Annotated[int | None, BeforeValidator(_size)] = Field(
        default=None,
        ge=1,
        description="Memory that the server may use, such as `512MiB`; unset takes what the container or machine has.",
    )
    latency: Annotated[float | None, BeforeValidator(_duration_ms)] = Field(
        default=None, gt=0, description="Longest answer to six seconds of speech, such as `300ms`; unset is no limit."
    )
    max_wer_loss: float | None = Field(
        default=None, ge=0, description="Points of WER that a variant may lose; unset is 1, `inf` takes unknown losses."
    )
    prefer: Literal["balanced", "accuracy", "speed"] = Field(
        default="balanced",
        description="Best of what fits: the quickest answer, the lowest WER (`accuracy`), or the most audio a second"
        " (`speed`).",
    )
    ladder: Listed = Field(
        default=(),
        description="Comma-separated variants, the best first, that precision moves on as load and memory change, such"
        " as `fp32,int8`; empty follows the plan. It is of no use where `WREN_MODEL` names a variant.",
    )
    cascade: str | None = Field(
        default=None,
        min_length=1,
        description="Model that decodes again what the serving one is unsure of: `model` or `model:variant`; unset is"
        " none.",
    )
    idle_s: float | None = Field(
        default=None,
        ge=-1,
        description="Seconds without use after which a variant leaves memory, -1 for never; unset is 300, and never for"
        " what serves by default.",
    )
    device: Annotated[str, BeforeValidator(_device)] = Field(
        default="auto",
        description="What variants of the runtime torch compute on: `auto` takes the GPUs that work, else the CPU;"
        " `cpu`; `cuda`; or some GPUs, such as `cuda:0,cuda:2`.",
    )
    gpu_memory: Annotated[int | None, BeforeValidator(_size)] = Field(
        default=None,
        ge=1,
        description="Memory that the server may use of each GPU, such as `8GB`; unset takes what is free at its start.",
    )
    executors: int | None = Field(
        default=None, ge=1, description="Batches computed side by side; unset takes what was measured to be fastest."
    )
    stuck_s: float = Field(
        default=60, ge=1, description="Seconds for one batch after which its executor is given up and replaced."
    )
    profile_s: float = Field(
        default=30,
        ge=0,
        description="Seconds that the first start may spend on measuring variants without a profile; 0 for none.",
    )
    log_format: Literal["console", "json"] = Field(
        default="console", description="Log lines for people or for machines."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Least severe level logged."
    )
    log_text: bool = Field(
        default=False,
        description="Whether what was said is logged, a line a request or a live stream; else no text is ever.",
    )
    otlp_endpoint: Annotated[str | None, AfterValidator(_address)] = Field(
        default=None,
        description="OpenTelemetry collector (OTLP over HTTP) that traces are sent to, such as"
        " `http://collector:4318`; unset goes by `OTEL_EXPORTER_OTLP_ENDPOINT`, and sends none without it.",
    )

    @field_validator("webhook_secret")
    @classmethod
    def _signs(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            parse_signing_secret(value.get_secret_value())
        return value

    @field_validator("api_keys", "cors_origins", "ladder", "fetch_hosts", "webhook_hosts", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(item.strip() for item in re.split(r"[,\n]", value) if item.strip())
        return value

    @property
    def max_upload_bytes(self) -> int:
        return int(self.max_upload_mib * MIB)

    @property
    def spool_bytes(self) -> int:
        return int(self.spool_mib * MIB)

    @property
    def keys(self) -> tuple[str, ...]:
        return tuple(key.get_secret_value() for key in self.api_keys)
