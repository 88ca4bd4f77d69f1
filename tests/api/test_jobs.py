"""`/v1/jobs` over an engine that says given transcripts, with keys and without."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from service.api.keys_file import Key, digest_of, write_keys
from service.api.quota import Limits
from service.engine.fake import FakeEngine
from service.errors import UndecodableAudio
from tests.api.speech import FILE, FOX, app_of
from tests.jobs.keeping import until
from tests.jobs.test_webhook import Receiver, listening

pytestmark = pytest.mark.anyio

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@asynccontextmanager
async def asking(engine: FakeEngine, folder: Path, **settings: object) -> AsyncIterator[httpx.AsyncClient]:
    """A client of an app that runs jobs."""
    app = app_of(engine, jobs=True, jobs_folder=folder / "jobs", **settings)
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://wren") as client,
    ):
        yield client


async def post(client: httpx.AsyncClient, data: Mapping[str, object] = {}, **headers: str) -> httpx.Response:
    return await client.post("/v1/jobs", data={"model": "fake", **data}, files=FILE, headers=headers)


async def ended(client: httpx.AsyncClient, accepted: httpx.Response, **headers: str) -> dict[str, object]:
    """The job, once it is over."""
    async with asyncio.timeout(10.0):
        while True:
            job = (await client.get(accepted.headers["location"], headers=headers)).json()
            if job["ended_at"] is not None:
                return dict(job)
            await asyncio.sleep(0.01)


async def test_a_job_is_accepted_and_its_result_fetched(tmp_path: Path) -> None:
    async with asking(FakeEngine(FOX), tmp_path) as client:
        accepted = await post(client)
        assert accepted.status_code == 202
        assert accepted.headers["location"] == f"/v1/jobs/{accepted.json()['id']}"
        assert (accepted.json()["object"], accepted.json()["model"]) == ("job", "fake")
        job = await ended(client, accepted)
        assert (job["status"], job["variant"], job["duration"], job["error"]) == ("completed", "fake:fp32", 8.47, None)
        assert job["progress"] == {"windows": 2, "windows_done": 2, "fraction": 1.0}
        url = str(job["result_url"])
        assert (await client.get(url)).json()["text"] == FOX.text
        assert (await client.get(f"{url}?response_format=text")).text == FOX.text + "\n"
        assert (await client.get(f"{url}?response_format=srt")).text.startswith("1\n00:00:00,000 --> ")
        verbose = (await client.get(f"{url}?response_format=verbose_json")).json()
        assert (verbose["duration"], len(verbose["segments"]), len(verbose["words"])) == (8.47, 2, 9)
        logprobs = (await client.get(f"{url}?response_format=json&include=logprobs")).json()["logprobs"]
        assert logprobs[0] == {"token": " The", "logprob": -0.25, "bytes": [32, 84, 104, 101]}
        assert (await client.get(f"{url}?response_format=docx")).status_code == 400


async def test_the_format_of_the_job_is_that_of_its_result(tmp_path: Path) -> None:
    async with asking(FakeEngine(FOX), tmp_path) as client:
        job = await ended(client, await post(client, {"response_format": "vtt", "task": "translate"}))
        assert (await client.get(str(job["result_url"]))).text.startswith("WEBVTT")


async def test_what_is_not_done_has_no_result_yet(tmp_path: Path) -> None:
    gate = asyncio.Event()
    async with asking(FakeEngine(FOX, gate=gate), tmp_path) as client:
        url = (await post(client)).headers["location"]
        refused = await client.get(f"{url}/result")
        assert (refused.status_code, refused.json()["error"]["code"]) == (409, "job_not_finished")
        cancelled = await client.post(f"{url}/cancel")
        assert (cancelled.status_code, cancelled.json()["status"]) == (200, "cancelled")
        assert (await client.post(f"{url}/cancel")).json()["status"] == "cancelled"
        refused = await client.get(f"{url}/result")
        assert (refused.status_code, refused.json()["error"]["code"]) == (409, "job_cancelled")


async def test_why_it_failed_is_told(tmp_path: Path) -> None:
    error = UndecodableAudio(container="none", codec="none", reason="noise")
    async with asking(FakeEngine(FOX, error=error), tmp_path) as client:
        accepted = await post(client)
        job = await ended(client, accepted)
        assert job["status"] == "failed"
        assert job["error"] == {
            "message": str(error),
            "type": "invalid_request_error",
            "param": "file",
            "code": "undecodable_audio",
        }
        refused = await client.get(f"{accepted.headers['location']}/result")
        assert (refused.status_code, refused.json()["error"]["code"]) == (409, "job_failed")


async def test_the_seconds_of_a_job_are_charged_when_it_is_completed(tmp_path: Path) -> None:
    file = tmp_path / "keys.toml"
    limits = {"a": Limits(audio_seconds_per_minute=8), "b": Limits()}
    write_keys(file, [Key(name, digest_of(name), frozenset({"transcribe"}), limit) for name, limit in limits.items()])
    async with asking(FakeEngine(FOX), tmp_path, keys_file=file) as client:
        a, b = {"authorization": "Bearer a"}, {"authorization": "Bearer b"}
        jobs = [(whose, await post(client, **whose)) for whose in (a, b)]
        assert [(await ended(client, job, **whose))["status"] for whose, job in jobs] == ["completed"] * 2
        refused = await post(client, **a)
        assert (refused.status_code, refused.json()["error"]["code"]) == (429, "rate_limit_exceeded")
        assert (await post(client, **b)).status_code == 202
        assert (await client.get(jobs[0][1].headers["location"] + "/result", headers=a)).status_code == 200


async def test_a_job_can_be_forgotten(tmp_path: Path) -> None:
    async with asking(FakeEngine(FOX, gate=asyncio.Event()), tmp_path) as client:
        url = (await post(client)).headers["location"]
        assert (await client.delete(url)).status_code == 204
        assert (await client.get(url)).json()["error"]["code"] == "job_not_found"
        assert (await client.delete(url)).status_code == 404


async def test_what_is_sent_twice_under_one_key_is_one_job(tmp_path: Path) -> None:
    async with asking(FakeEngine(FOX), tmp_path) as client:
        first, second = [await post(client, {}, **{"Idempotency-Key": "k"}) for _ in range(2)]
        assert (second.status_code, second.json()["id"]) == (202, first.json()["id"])
        other = await post(client, {"language": "en"}, **{"Idempotency-Key": "k"})
        assert (other.status_code, other.json()["error"]["code"]) == (409, "idempotency_conflict")
        assert len((await client.get("/v1/jobs")).json()["data"]) == 1
        assert (await post(client, {}, **{"Idempotency-Key": "k" * 256})).status_code == 400


async def test_jobs_are_listed_in_pages(tmp_path: Path) -> None:
    async with asking(FakeEngine(FOX), tmp_path) as client:
        ids = [(await post(client)).json()["id"] for _ in range(3)]
        page = (await client.get("/v1/jobs?limit=2")).json()
        assert ([job["id"] for job in page["data"]], page["has_more"]) == (ids[:0:-1], True)
        rest = (await client.get(f"/v1/jobs?limit=2&after={page['data'][-1]['id']}")).json()
        assert ([job["id"] for job in rest["data"]], rest["has_more"]) == (ids[:1], False)
        assert (await client.get("/v1/jobs?after=job_none")).status_code == 404
        assert (await client.get("/v1/jobs?limit=0")).status_code == 400


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"stream": "true"}, "stream"),
        ({"deadline_s": "3"}, "deadline_s"),
        ({"keep_alive": "5m"}, "keep_alive"),
        ({"include[]": "logprobs"}, "include"),
        ({"task": "sing"}, "task"),
        ({"language": "klingon"}, "language"),
        ({"webhook_url": "ftp://a.example"}, "webhook_url"),
        ({"webhook_url": "https://me:hush@a.example"}, "webhook_url"),
    ],
)
async def test_what_a_job_cannot_have_is_said(tmp_path: Path, fields: dict[str, str], param: str) -> None:
    async with asking(FakeEngine(FOX), tmp_path, webhook_secret=SECRET) as client:
        refused = await post(client, fields)
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, param)


async def test_without_a_secret_nobody_is_told(tmp_path: Path) -> None:
    async with asking(FakeEngine(FOX), tmp_path) as client:
        refused = await post(client, {"webhook_url": "https://a.example/x"})
    assert refused.status_code == 400
    assert "WREN_WEBHOOK_SECRET" in refused.json()["error"]["message"]


async def test_a_model_that_is_not_there_is_refused_at_once(tmp_path: Path) -> None:
    async with asking(FakeEngine(FOX), tmp_path) as client:
        assert (await post(client, {"model": "none"})).status_code == 404
        empty = {"file": ("a.wav", b"", "audio/wav")}
        assert (await client.post("/v1/jobs", data={"model": "fake"}, files=empty)).status_code == 400


async def test_there_is_an_end_to_what_may_wait(tmp_path: Path) -> None:
    async with asking(FakeEngine(FOX, gate=asyncio.Event()), tmp_path, jobs_max=2) as client:
        assert [(await post(client)).status_code for _ in range(3)] == [202, 202, 429]
    async with asking(FakeEngine(FOX, gate=asyncio.Event()), tmp_path, jobs_mib=20 / 2**20) as client:
        refused = await post(client)  # nine bytes, and the two from before are there still
    assert (refused.status_code, refused.json()["error"]["code"]) == (429, "jobs_full")
    assert int(refused.headers["retry-after"]) > 0


async def test_jobs_can_be_off(tmp_path: Path) -> None:
    transport = httpx.ASGITransport(app=app_of(FakeEngine(FOX), jobs=False))
    async with httpx.AsyncClient(transport=transport, base_url="http://wren") as client:
        answers = [await post(client), await client.get("/v1/jobs"), await client.get("/v1/jobs/x")]
    assert {(answer.status_code, answer.json()["error"]["code"]) for answer in answers} == {(503, "jobs_unavailable")}


async def test_a_job_is_its_key_s_and_the_operator_s(tmp_path: Path) -> None:
    keys = {name: {"authorization": f"Bearer {name}"} for name in ("ann", "ben", "root")}
    scopes: dict[str, frozenset[object]] = {"root": frozenset({"admin"})}
    written = [Key(name, digest_of(name), scopes.get(name, frozenset({"transcribe"}))) for name in keys]  # type: ignore[arg-type]
    write_keys(tmp_path / "keys.toml", written)
    async with asking(FakeEngine(FOX), tmp_path, keys_file=tmp_path / "keys.toml") as client:
        assert (await post(client)).status_code == 401
        accepted = await post(client, {}, **keys["ann"])
        url = accepted.headers["location"]
        await ended(client, accepted, **keys["ann"])
        for path in (url, f"{url}/result"):
            assert [(await client.get(path, headers=keys[name])).status_code for name in keys] == [200, 404, 200]
        assert (await client.post(f"{url}/cancel", headers=keys["ben"])).status_code == 404
        assert (await client.delete(url, headers=keys["ben"])).status_code == 404
        counts = [len((await client.get("/v1/jobs", headers=keys[name])).json()["data"]) for name in keys]
        assert counts == [1, 0, 1]


async def test_a_job_outlives_its_server(tmp_path: Path) -> None:
    async with asking(FakeEngine(FOX, gate=asyncio.Event()), tmp_path) as client:
        accepted = await post(client)
    async with asking(FakeEngine(FOX), tmp_path) as client:
        job = await ended(client, accepted)
        assert (await client.get(str(job["result_url"]))).json()["text"] == FOX.text


async def test_the_end_is_told_to_whom_the_client_named(tmp_path: Path) -> None:
    receiver = Receiver(200)
    async with listening(receiver) as port:
        settings = {"webhook_secret": SECRET, "webhook_hosts": ("127.0.0.1",)}
        async with asking(FakeEngine(FOX), tmp_path, **settings) as client:
            accepted = await post(client, {"webhook_url": f"http://127.0.0.1:{port}/told"})
            assert accepted.json()["webhook"]["status"] == "none"
            job = await ended(client, accepted)
            await until(lambda: receiver.requests)
            async with asyncio.timeout(10.0):
                while (await client.get(f"/v1/jobs/{job['id']}")).json()["webhook"]["status"] == "waiting":  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            told = (await client.get(f"/v1/jobs/{job['id']}")).json()["webhook"]
    assert (told["status"], told["attempts"]) == ("delivered", 1)
    ((_, body),) = receiver.requests
    message = json.loads(body)
    assert (message["type"], message["data"]["id"], message["timestamp"]) == (
        "job.completed",
        job["id"],
        job["ended_at"],
    )
    assert "fox" not in body.decode()
