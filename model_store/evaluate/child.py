"""The process that computes: an order on standard input, messages on standard output.

It holds one variant and all that the server holds besides, so its memory is what a server with this variant needs.
"""

import sys
import time

import service.app  # noqa: F401 - a server has the web application in memory, too
from model_store.evaluate.energy import Meter
from model_store.evaluate.messages import Done, Failed, Heard, Message, Order, Ready, Recording
from model_store.evaluate.serving import Serving
from service.engine.heap import few_arenas
from service.engine.resident import read_resident
from service.errors import WrenError


def main() -> None:
    order = Order.model_validate_json(sys.stdin.buffer.read())
    few_arenas()
    try:
        _obey(order)
    except WrenError as error:
        _say(Failed(reason=str(error).rstrip(".")))


def _obey(order: Order) -> None:
    started = time.perf_counter()
    with Serving(order.store, order.variant, threads=order.threads) as serving:
        load_ms = 1e3 * (time.perf_counter() - started)
        _say(Ready(load_ms=load_ms, gpus=serving.gpus(order.variant)))
        meter = Meter()
        energy_j = meter.read()
        for recording in order.recordings:
            heard = _heard(serving, order.variant, recording)
            energy_j = meter.read()
            _say(heard)
            if isinstance(heard, Failed):
                return
        _say(Done(peak_bytes=read_resident().peak_bytes, energy_j=energy_j))


def _heard(serving: Serving, variant: str, recording: Recording) -> Heard | Failed:
    try:
        timed = serving.transcribe(recording.path.read_bytes(), variant, language=recording.lang)
    except (WrenError, OSError) as error:
        return Failed(reason=f"{recording.path}: {str(error).rstrip('.')}")
    audio_s = timed.served.transcript.duration_s
    return Heard(text=timed.text, tokens=timed.tokens, audio_s=audio_s, seconds=timed.seconds)


def _say(message: Message) -> None:
    sys.stdout.write(message.model_dump_json() + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
