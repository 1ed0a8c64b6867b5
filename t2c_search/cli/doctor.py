"""What is wrong with this machine, and what to do about it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from t2c_search.errors import StoreError, StoreLockedError, UsageError, redact
from t2c_search.settings import effective_settings, load_settings
from t2c_search.stores import MEMORY, list_collections, open_store

_LOW_DISK_BYTES = 2 << 30  # a million 512-d vectors with their index take about 4 GiB


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at: how it is, and where it is not well, what to do."""

    subject: str
    state: Literal["ok", "note", "problem"]
    message: str
    remedy: str = ""


def examine(store: str | None = None) -> Iterator[Finding]:
    """Look at settings, models' libraries, processors, hub, disk and the store, the settings' one when None is given.

    Opens no network address but the store's own when it is a server.
    """
    key = None
    try:
        settings = load_settings()
    except UsageError as exc:
        yield Finding("settings", "problem", str(exc), "mend that, or remove it; t2c settings then lists what counts")
    else:
        used = sorted({setting.origin for setting in effective_settings()} - {"default"})
        yield Finding("settings", "ok", ", ".join(used) or "the defaults")
        store = store or settings.store
        key = settings.key_for(store)
    yield from _libraries()
    yield from _processors()
    yield from _hub()
    if store is not None:
        yield from _disk(store)
        yield from _store(store, key)


def _libraries() -> Iterator[Finding]:
    try:
        import torch
        import torchvision
    except (ImportError, RuntimeError) as exc:
        # A torchvision built for another torch fails while registering its operators, with a RuntimeError.
        yield Finding(
            "torch and torchvision",
            "problem",
            f"they do not work together: {str(exc).splitlines()[0]}",
            "reinstall the pair in one command, so that pip picks builds made for each other: "
            "pip install --force-reinstall torch torchvision",
        )
        return
    yield Finding("torch and torchvision", "ok", f"torch {torch.__version__}, torchvision {torchvision.__version__}")
    try:
        import pillow_heif

        yield Finding("HEIC photos", "ok", f"pillow-heif {pillow_heif.__version__}")
    except ImportError as exc:
        yield Finding("HEIC photos", "problem", f"cannot be read: {exc}", "pip install --force-reinstall pillow-heif")


def _processors() -> Iterator[Finding]:
    try:
        import torch
    except (ImportError, RuntimeError):
        return  # said by _libraries
    if torch.cuda.is_available():
        free, total = torch.cuda.mem_get_info()
        yield Finding(
            "GPU", "ok", f"{torch.cuda.get_device_name()}, {free / 2**30:.1f} of {total / 2**30:.1f} GiB free"
        )
    elif torch.backends.mps.is_available():
        yield Finding("GPU", "ok", "Apple GPU (mps)")
    elif shutil.which("nvidia-smi"):
        yield Finding(
            "GPU",
            "problem",
            f"the machine has an NVIDIA driver, but torch {torch.__version__} sees no GPU",
            "install a torch build for this driver's CUDA version, and check nvidia-smi",
        )
    else:
        yield Finding("GPU", "note", f"none: models run on {os.cpu_count()} processors, about 10 to 100 times slower")


def _hub() -> Iterator[Finding]:
    from huggingface_hub import constants

    cache = Path(constants.HF_HUB_CACHE)
    cached = sum(1 for folder in cache.glob("models--*")) if cache.is_dir() else 0
    if constants.HF_HUB_OFFLINE:
        yield Finding(
            "model hub",
            "note",
            f"offline mode is on: only the {cached} downloaded models, local folders and the bundled mini models load",
            "unset HF_HUB_OFFLINE to download models, or name a folder: timm:local-dir:PATH, open_clip:local-dir:PATH",
        )
    else:
        yield Finding("model hub", "ok", f"models download when first used; {cached} are here already ({cache})")


def _disk(store: str) -> Iterator[Finding]:
    if store == MEMORY or "://" in store:
        return
    folder = Path(store).expanduser().absolute()
    existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
    if not existing.is_dir():
        yield Finding("disk", "problem", f"{existing} is a file", "choose a folder as --store, there already or not")
        return
    if not os.access(existing, os.W_OK):
        yield Finding(
            "disk", "problem", f"{existing} cannot be written", "choose another --store, or change its permissions"
        )
        return
    free = shutil.disk_usage(existing).free
    low = free < _LOW_DISK_BYTES
    yield Finding(
        "disk",
        "problem" if low else "ok",
        f"{free / 2**30:.1f} GiB free at {existing}",
        "make room: a million images take about 4 GiB" if low else "",
    )


def _store(store: str, key: str | None) -> Iterator[Finding]:
    transport = None
    try:
        names = list_collections(store, api_key=key)
        for name in names or ["images"]:
            opened = open_store(store, name, api_key=key)
            transport = opened.capabilities.transport
            try:
                if names:
                    opened.count()
            finally:
                opened.close()
    except StoreLockedError as exc:
        yield Finding(
            "store", "note", str(exc), "wait for the other command, or use a Qdrant server for several at once"
        )
    except StoreError as exc:
        yield Finding("store", "problem", str(exc))
    else:
        over = f" over {transport}" if transport else ""
        yield Finding("store", "ok", f"{redact(store)}{over}: {', '.join(names) or 'no collection yet'}")
