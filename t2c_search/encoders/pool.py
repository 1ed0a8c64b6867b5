"""Loaded encoders, shared: each is loaded once for all collections and threads that ask, and runs one call at a time."""

from __future__ import annotations

import gc
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import wraps
from threading import Lock, RLock
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from t2c_search.encoders import registry
from t2c_search.encoders.loading import LOADING
from t2c_search.encoders.local_files import Stamp, named_folder, stamp
from t2c_search.encoders.options import read_id

if TYPE_CHECKING:
    from t2c_search.encoders.registry import Encoder
    from t2c_search.settings import Device, Dtype

P = ParamSpec("P")
R = TypeVar("R")

_KEPT = 4  # encoders, used or not: two collections' CLIP models and backbones
_RUN_THE_MODEL = (
    *("encode_images", "encode_texts", "embed"),
    *("feature_map", "head", "shares", "pooled_tokens", "text_tokens"),
)
_LOCK = "_pool_lock"  # attribute of a shared encoder


class ModelPool:
    """Encoders by id, device, dtype and compile. What was asked for last stays loaded, whether or not anybody uses it.

    A folder's model whose files have changed is loaded anew, and so is a module of the user's own (``torch:``); whoever has
    the former one goes on with it. Sent to another process, a pool is that process's own (``default_pool``).
    """

    def __init__(self, kept: int = _KEPT) -> None:
        """Make an empty pool that keeps up to so many encoders; beyond, the one that nobody has asked for longest goes."""
        self._kept = kept
        self._encoders: dict[tuple[str, Device, Dtype, bool], tuple[Encoder, Stamp]] = {}
        self._lock = Lock()  # of the dict; models are loaded outside it

    def load(
        self, encoder_id: str, *, device: Device = "auto", dtype: Dtype = "auto", compile: bool = False
    ) -> Encoder:
        """Return the encoder that an id names, loaded as ``registry.load`` does unless it is there already.

        Threads that ask for one that is being loaded wait for it. Raises what ``registry.load`` raises.
        """
        folder, asked = named_folder(encoder_id), read_id(encoder_id)
        key = (f"{asked.kind}:{folder}{asked.options}" if folder else encoder_id, device, dtype, compile)
        if (encoder := self._find(key, stamp(encoder_id))) is not None:
            return encoder
        with LOADING:
            files = stamp(encoder_id)  # before they are read: what changes meanwhile is seen next time
            if (encoder := self._find(key, files)) is not None:  # loaded by another thread in the meantime
                return encoder
            encoder = registry.load(encoder_id, device=device, dtype=dtype, compile=compile)
            _share(encoder)
            files = files or stamp(encoder_id)  # a module's file is known once it is imported
            with self._lock:
                self._encoders[key] = (encoder, files)
                while len(self._encoders) > self._kept:
                    del self._encoders[next(iter(self._encoders))]
        return encoder

    def clear(self) -> None:
        """Let go of all encoders. Their memory is free again once nobody else uses them."""
        with self._lock:
            self._encoders.clear()
        gc.collect()  # an encoder refers to itself, through its methods: counting references would not free it

    def __reduce__(self) -> tuple[Callable[[], ModelPool], tuple[()]]:
        return default_pool, ()

    def _find(self, key: tuple[str, Device, Dtype, bool], files: Stamp) -> Encoder | None:
        """Return an encoder made of these very files; one of former files is forgotten."""
        with self._lock:
            encoder, made_of = self._encoders.pop(key, (None, ()))
            if encoder is None or made_of != files:
                return None
            self._encoders[key] = (encoder, made_of)  # last in the order in which they go
            return encoder


_default_pool = ModelPool()


def default_pool() -> ModelPool:
    """Return this process's pool, which is used where nobody gives another."""
    return _default_pool


def exclusive(encoder: object) -> AbstractContextManager[Any]:
    """Keep other threads out of a shared encoder for several calls, as while hooks are set; others have nobody to keep out."""
    return getattr(encoder, _LOCK, None) or nullcontext()


def _share(encoder: Encoder) -> None:
    """Let one thread at a time run an encoder.

    Its methods are replaced on the object, so that it stays what it is: of its class, and of the protocols it fulfils.
    """
    lock = RLock()
    vars(encoder)[_LOCK] = lock
    for name in _RUN_THE_MODEL:
        if hasattr(encoder, name):
            vars(encoder)[name] = _one_at_a_time(lock, getattr(encoder, name))


def _one_at_a_time(lock: AbstractContextManager[Any], method: Callable[P, R]) -> Callable[P, R]:
    @wraps(method)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        with lock:
            return method(*args, **kwargs)

    return call
