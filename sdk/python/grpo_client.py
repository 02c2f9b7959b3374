"""Status and control of a running trainer from Python 3.9 or later; needs `pip install grpcio protobuf` and nothing else.

    from grpo_client import Client

    with Client(run_dir="runs/quickstart") as run:
        for status in run.watch():
            print(status.state, status.stage, status.step, status.metrics.get("reward"))

This is the source. `bazel build //sdk:grpo_client` puts the contracts of proto/ into it: copy bazel-bin/sdk/grpo_client.py beside your
program. It works with any version of protobuf from 3.20 on, since nothing in it was generated for one.

Errors are Python's own: FileNotFoundError for a run folder that is not there, ConnectionError for a trainer that does not answer (it has ended,
is starting, or is out of reach), PermissionError for one that refuses this caller, ValueError for arguments and files that do not fit together, and
RunError for everything else that a trainer says, such as a pause of a run that has ended.
"""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import ipaddress
import json
import pathlib
import time
from typing import Any, Callable, Dict, Iterator, List, Optional, Tuple, Union

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

# Replaced by the build: proto/trainer.proto and what it imports, a FileDescriptorSet in base64.
_DESCRIPTORS = ""

# States after which nothing follows.
TERMINAL = ("FINISHED", "STOPPED", "FAILED")
_SERVICE = "grpo.v1.TrainerService"
# A watch is renewed so often; the run may last longer.
_WATCH_SECONDS = 3600.0


class RunError(RuntimeError):
    """What a trainer answered instead; `code` is gRPC's, such as FAILED_PRECONDITION."""

    def __init__(self, message: str, code: str):
        super().__init__(message)
        self.code = code


@dataclasses.dataclass(frozen=True)
class Stage:
    """One stage of the run."""

    name: str
    type: str
    # PENDING, RUNNING or DONE.
    state: str
    # Steps, or groups of a stage that only samples; num_steps is 0 where that is not known ahead.
    step: int
    num_steps: int
    seconds: float
    # The newest values, by the names of metrics.jsonl.
    metrics: Dict[str, float]


@dataclasses.dataclass(frozen=True)
class Status:
    """A snapshot. `message` is all of it: grpo.v1.RunStatus of proto/trainer.proto."""

    run_id: str
    run_name: str
    run_dir: str
    # STARTING, RUNNING, PAUSED, STALLED, STOPPING, FINISHED, STOPPED or FAILED, and why.
    state: str
    reason: str
    stages: List[Stage]
    # Those of the running stage; of the last one when the run has ended.
    stage: str
    step: int
    num_steps: int
    metrics: Dict[str, float]
    elapsed_seconds: float
    message: Any = dataclasses.field(repr=False)

    @property
    def ended(self) -> bool:
        return self.state in TERMINAL


class _Contracts:
    """Message classes and the service's methods, out of descriptors."""

    def __init__(self) -> None:
        if not _DESCRIPTORS:
            raise ImportError("this grpo_client.py is the source: use bazel-bin/sdk/grpo_client.py, which `bazel build //sdk:grpo_client` makes")
        self.pool = descriptor_pool.DescriptorPool()
        files = descriptor_pb2.FileDescriptorSet.FromString(base64.b64decode(_DESCRIPTORS))
        for file in files.file:
            self.pool.AddSerializedFile(file.SerializeToString())
        self.methods = self.pool.FindServiceByName(_SERVICE).methods_by_name

    def message(self, name: str) -> Any:
        return self._class_of(self.pool.FindMessageTypeByName(f"grpo.v1.{name}"))

    def ends_of(self, method: str) -> Tuple[Any, Any]:
        """Classes of a method's request and answer."""
        found = self.methods[method]
        return self._class_of(found.input_type), self._class_of(found.output_type)

    def word(self, enum: str, number: int) -> str:
        """RUNNING for RUN_STATE_RUNNING; the number of a value that is newer than this."""
        descriptor = self.pool.FindEnumTypeByName(f"grpo.v1.{enum}")
        value = descriptor.values_by_number.get(number)
        prefix = "".join("_" + c if c.isupper() else c for c in enum).lstrip("_").upper() + "_"
        return value.name[len(prefix) :] if value is not None else str(number)

    def _class_of(self, descriptor: Any) -> Any:
        if hasattr(message_factory, "GetMessageClass"):
            return message_factory.GetMessageClass(descriptor)
        return message_factory.MessageFactory(self.pool).GetPrototype(descriptor)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    return False


def _read(key: str, path: str) -> Optional[bytes]:
    if not path:
        return None
    try:
        return pathlib.Path(path).read_bytes()
    except OSError as error:
        raise ValueError(f"{key}: {error}") from error


def _endpoint(run_dir: Union[str, pathlib.Path]) -> Dict[str, str]:
    """endpoint.json of a run."""
    folder = pathlib.Path(run_dir)
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no run folder {folder}")
    try:
        endpoint = json.loads((folder / "endpoint.json").read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConnectionError(f"nothing serves the run in {folder}: it has ended or is still starting") from error
    except ValueError as error:
        raise ValueError(f"{folder / 'endpoint.json'} is no JSON: {error}") from error
    if not isinstance(endpoint, dict) or not isinstance(endpoint.get("address"), str):
        raise ValueError(f"{folder / 'endpoint.json'} holds no \"address\"")
    return {key: value for key, value in endpoint.items() if isinstance(value, str)}


class Client:
    """One run's trainer. A method may be called by any thread.

    `run_dir` finds the trainer, its token and its certificates by the run's endpoint.json; `address` (HOST:PORT) is for a trainer
    whose folder is not here. token_file, tls_ca, tls_cert and tls_key go before what the folder says. `deadline_s` is of one call.
    Nothing is called yet: a trainer that is away is an error of the first call.
    """

    def __init__(
        self,
        run_dir: Union[str, pathlib.Path, None] = None,
        address: Optional[str] = None,
        *,
        token_file: Optional[str] = None,
        tls_ca: Optional[str] = None,
        tls_cert: Optional[str] = None,
        tls_key: Optional[str] = None,
        deadline_s: float = 10.0,
    ):
        if (run_dir is None) == (address is None):
            raise ValueError("name the run by run_dir or by address, one of them")
        self._contracts = _Contracts()
        self._deadline_s = deadline_s
        endpoint = {"address": address} if address is not None else _endpoint(run_dir)
        given = {"token_file": token_file, "tls_ca": tls_ca, "tls_cert": tls_cert, "tls_key": tls_key}
        files = {key: value if value is not None else endpoint.get(key, "") for key, value in given.items()}
        self.address: str = endpoint["address"]
        self._metadata = self._token(files)
        self._channel = self._open(files)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def close(self) -> None:
        self._channel.close()

    # --- What it does ---

    def status(self) -> Status:
        """What the run is doing now."""
        return self._status(self._call("GetStatus"))

    def watch(self, min_interval_s: float = 1.0) -> Iterator[Status]:
        """A snapshot now and after each change, at most one in so many seconds; ends after that of the run's end."""
        request_class, _ = self._contracts.ends_of("WatchStatus")
        request = request_class(min_interval_ms=max(1, int(min_interval_s * 1000)))
        while True:
            renewed_at = time.monotonic() + _WATCH_SECONDS
            try:
                for message in self._method("WatchStatus")(request, timeout=_WATCH_SECONDS, metadata=self._metadata):
                    status = self._status(message)
                    yield status
                    if status.ended:
                        return
            except grpc.RpcError as error:
                if error.code() != grpc.StatusCode.DEADLINE_EXCEEDED or time.monotonic() < renewed_at - 1:
                    raise self._explained(error) from None
                continue
            raise ConnectionError(f"the trainer at {self.address} ended its answer before the run's end")

    def pause(self, reason: str = "") -> str:
        """Stops before the next step; the state that the run is in now."""
        return self._state(self._call("Pause", reason=reason))

    def resume(self) -> str:
        """Lifts a pause; the state that the run is in now."""
        return self._state(self._call("Resume"))

    def checkpoint(self) -> str:
        """Saves after the current step and returns the checkpoint's folder, relative to the run's, once it is there. A large model takes its time:
        give the client a deadline_s to fit."""
        return self._call("SaveCheckpoint").checkpoint.path

    def stop(self) -> str:
        """Ends the run after the current step, with a checkpoint from which `grpoctl run --resume` goes on; the state that it is in now."""
        return self._state(self._call("Stop"))

    def config(self) -> str:
        """The resolved configuration, as YAML."""
        return self._call("GetConfig").resolved_yaml

    # --- How ---

    def _token(self, files: Dict[str, str]) -> List[Tuple[str, str]]:
        token = _read("token_file", files["token_file"])
        if token is None:
            return []
        if not files["tls_ca"] and not _is_loopback(self.address.rpartition(":")[0]):
            raise ValueError(f"the token would go to {self.address} in clear: name the authority of its certificate with tls_ca")
        return [("authorization", f"Bearer {token.decode('ascii', 'strict').strip()}")]

    def _open(self, files: Dict[str, str]) -> grpc.Channel:
        if not files["tls_ca"]:
            return grpc.insecure_channel(self.address)
        authority, key, certificate = (_read(name, files[name]) for name in ("tls_ca", "tls_key", "tls_cert"))
        return grpc.secure_channel(self.address, grpc.ssl_channel_credentials(authority, key, certificate))

    def _method(self, name: str) -> Callable[..., Any]:
        request_class, answer_class = self._contracts.ends_of(name)
        kind = self._channel.unary_stream if name == "WatchStatus" else self._channel.unary_unary
        return kind(
            f"/{_SERVICE}/{name}", request_serializer=request_class.SerializeToString, response_deserializer=answer_class.FromString
        )

    def _call(self, name: str, **fields: Any) -> Any:
        request_class, _ = self._contracts.ends_of(name)
        try:
            return self._method(name)(request_class(**fields), timeout=self._deadline_s, metadata=self._metadata)
        except grpc.RpcError as error:
            raise self._explained(error) from None

    def _explained(self, error: Any) -> Exception:
        code, said = error.code(), error.details() or ""
        if code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
            return ConnectionError(f"no trainer answers at {self.address}: {said}")
        if code in (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED):
            return PermissionError(f"the trainer at {self.address} refused this caller: {said}")
        return RunError(f"the trainer at {self.address} says: {said}", code.name)

    def _state(self, answer: Any) -> str:
        return self._contracts.word("RunState", answer.state)

    def _status(self, message: Any) -> Status:
        stages = [
            Stage(
                name=row.name,
                type=row.type,
                state=self._contracts.word("StageState", row.state),
                step=row.step,
                num_steps=row.num_steps,
                seconds=row.seconds,
                metrics=dict(row.metrics),
            )
            for row in message.stages
        ]
        at = message.stage_index
        now = stages[at] if 0 <= at < len(stages) else Stage("", "", "", 0, 0, 0.0, {})
        return Status(
            run_id=message.run_id,
            run_name=message.run_name,
            run_dir=message.run_dir,
            state=self._contracts.word("RunState", message.state),
            reason=message.state_reason,
            stages=stages,
            stage=now.name,
            step=now.step,
            num_steps=now.num_steps,
            metrics=now.metrics,
            elapsed_seconds=message.elapsed_seconds,
            message=message,
        )
