"""One source of defaults: built in, overridden by ``t2c.toml``, by ``T2C_*`` variables, and last by arguments."""

from __future__ import annotations

import os
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, PrivateAttr, SecretStr, ValidationError
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from t2c_search.errors import UsageError, redact
from t2c_search.settings_file import SettingsFile, read_settings_file

Device = Literal["auto", "cpu", "cuda", "mps"]
Dtype = Literal["auto", "float32", "bfloat16", "float16"]

_OF_TESTS = ("T2C_REAL_DATA", "T2C_TEST_QDRANT_URL", "T2C_ORACLE_FULL")
"""Variables of this project's tests and benchmarks."""


class Settings(BaseSettings):
    """Defaults of every command and of ``open_collection``; each field is also a variable ``T2C_<FIELD>``."""

    model_config = SettingsConfigDict(env_prefix="T2C_", extra="forbid", frozen=True)

    collection: str = Field("images", description="Collection to work on.")
    store: str = Field(
        default_factory=lambda: _store_here(),
        description="Folder of the embedded store, or http:// address of a Qdrant server; the only folder here whose name "
        "ends in .t2c, or else ./images.t2c, when absent.",
    )
    clip: str = Field(
        "open_clip:ViT-B-32/laion2b_s34b_b79k", description="CLIP model: understands the texts (see: t2c models)."
    )
    backbone: str | None = Field(None, description="Model that looks at the images; the CLIP model itself when absent.")
    device: Device = Field("auto", description="Where models run.")
    dtype: Dtype = Field("auto", description="Precision of models: float32 on a CPU, bfloat16 on a GPU when auto.")
    compile: bool = Field(False, description="Compile image models with torch.compile before they run.")
    batch_size: int | None = Field(None, ge=1, description="Images per forward pass; what fits the memory when absent.")
    workers: int | None = Field(None, ge=1, description="Decoding threads; the number of processors when absent.")
    fit_pairs: int = Field(5_000, ge=20, description="Images through both models to fit an aligner.")
    wait: float = Field(
        10.0, ge=0, description="Seconds to wait for a folder's collection that another process has open."
    )
    qdrant_api_key: SecretStr | None = Field(None, description="Key of a Qdrant server.")
    qdrant_grpc_port: int | None = Field(
        None, ge=0, le=65535, description="gRPC port of a Qdrant server: 6334 beside 6333 when absent, none when 0."
    )

    _file: SettingsFile | None = PrivateAttr(None)
    _variables: frozenset[str] = PrivateAttr(frozenset())

    @classmethod
    def of(cls, file: SettingsFile | None) -> Self:
        """Read the variables, and for the rest take what a file sets. Raises UsageError for what cannot be used."""
        values = file.values if file else {}
        for name in values.keys() - cls.model_fields:  # some would be arguments of the base class
            raise UsageError(f"t2c.toml sets {name!r}, which is no setting; there are: {', '.join(cls.model_fields)}")
        try:
            settings = cls(**values)
        except ValidationError as exc:
            raise _unusable(exc) from exc
        settings._file = file
        settings._variables = frozenset(EnvSettingsSource(cls)())
        return settings

    def key_for(self, location: str) -> str | None:
        """Return the key of a Qdrant server in plain text; a file's own key is for that file's own server only."""
        key = self.qdrant_api_key
        if key is None or ("qdrant_api_key" not in self._variables and not self._of_file(location)):
            return None
        return key.get_secret_value()

    def _of_file(self, location: str) -> bool:
        return self._file is not None and self._file.is_server_of(location)

    def origin(self, name: str) -> str:
        """Say where a setting comes from."""
        if name in self._variables:
            return f"variable T2C_{name.upper()}"
        return f"key {name} of {self._file.path}" if self._file and name in self._file.values else "default"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Order the sources: the environment, then what is given, which is the file's."""
        return env_settings, init_settings


def _store_here() -> str:
    """Return the one store that lies here, so that it need not be named again; else the default's name."""
    here = sorted(path.name for path in Path().glob("*.t2c") if path.is_dir())
    return f"./{here[0]}" if len(here) == 1 else "./images.t2c"


def unknown_variables() -> list[str]:
    """Say of each variable ``T2C_*`` that is no setting, for a slip would pass unseen, what is near it."""
    known = {f"T2C_{name.upper()}" for name in Settings.model_fields}
    remarks = []
    for name in sorted(os.environ):
        if name.startswith("T2C_") and name not in known and name not in _OF_TESTS:
            near = get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]}?" if near else "t2c settings lists them"
            remarks.append(f"variable {name} is no setting: {hint}")
    return remarks


def load_settings() -> Settings:
    """Read the settings of this process.

    Raises UsageError naming the variable or key that cannot be used, or a file that is not trusted and may do harm.
    """
    file = read_settings_file()
    settings = Settings.of(file)
    if file is not None:
        file.require_harmless(key_elsewhere="qdrant_api_key" in settings._variables)
    return settings


def _unusable(exc: ValidationError) -> UsageError:
    first = exc.errors()[0]
    name = ".".join(str(part) for part in first["loc"])
    got = "" if name == "qdrant_api_key" else f", got {first.get('input')!r}"
    return UsageError(
        f"setting {name!r} (variable T2C_{name.upper()} or key {name} of t2c.toml) cannot be used: {first['msg']}{got}"
    )


@dataclass(frozen=True, slots=True)
class EffectiveSetting:
    """What a setting is for this process, and what says so; a secret's value is masked."""

    name: str
    value: str | float | bool | None
    origin: str


def effective_settings() -> list[EffectiveSetting]:
    """Tell every setting's value and where it comes from, also of a file that is not trusted.

    Raises UsageError for what cannot be used.
    """
    settings = Settings.of(read_settings_file())
    found = []
    for name in Settings.model_fields:
        value = getattr(settings, name)
        shown = redact(str(value)) if isinstance(value, str | SecretStr) else value
        found.append(EffectiveSetting(name, shown, settings.origin(name)))
    return found
