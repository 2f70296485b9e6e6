"""A dated, regional price sheet.  An unknown price is an error, never a default.

>>> sheet = PriceSheet.load()
>>> sheet.serverless_second(2048).usd
4e-05
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from drdeploy.errors import InvalidInput, UnknownPrice

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DEFAULT_REGION = "us-east-1"
"""The region that the packaged sheet covers; every :class:`Price` names its own."""

Unit = Literal["second", "hour", "GB"]

Usd = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Month = Annotated[str, StringConstraints(pattern=r"^\d{4}-\d{2}(-\d{2})?$")]


@dataclass(frozen=True)
class Price:
    """One price and where it comes from.

    Attributes:
        item: ``serverless 2048 MB``, ``ml.m5.xlarge`` or ``serverless data processing``.
        unit: What ``usd`` is paid per.
        date: When the source read it, ``YYYY-MM`` or ``YYYY-MM-DD``.
    """

    item: str
    usd: float
    unit: Unit
    region: str
    date: str
    source: str


@dataclass(frozen=True)
class PriceSheet:
    """All known prices."""

    prices: tuple[Price, ...]

    @classmethod
    def load(cls, path: Path | None = None) -> Self:
        """Read a sheet; the packaged one by default.

        Raises:
            InvalidInput: The file is no TOML, or has an unknown or a missing field.
        """
        source = path or files("drdeploy.sagemaker") / "prices.toml"
        try:
            document = _Document.model_validate(tomllib.loads(source.read_text("utf-8")))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, ValidationError) as err:
            raise InvalidInput(
                f"The price sheet cannot be read: {err}",
                where=str(source),
                remedy="Compare it with the packaged prices.toml",
            ) from err
        return cls(tuple(document.prices()))

    def serverless_second(self, memory_mb: int, region: str = DEFAULT_REGION) -> Price:
        """Price of one second of a serverless endpoint of that size."""
        return self._newest(_serverless_item(memory_mb), region)

    def instance_hour(self, instance_type: str, region: str = DEFAULT_REGION) -> Price:
        """Price of one hour of one instance."""
        return self._newest(instance_type, region)

    def data_processed_gb(self, region: str = DEFAULT_REGION) -> Price:
        """Price of a GB into or out of a serverless endpoint."""
        return self._newest(_DATA_ITEM, region)

    def _newest(self, item: str, region: str) -> Price:
        known = [p for p in self.prices if p.item == item and p.region == region]
        if not known:
            raise UnknownPrice(
                f"No price is known for {item} in {region}",
                where="price sheet",
                remedy=f"{self._what_is_known(item, region)}; add the price to a sheet of your own",
            )
        return max(known, key=lambda price: price.date)

    def _what_is_known(self, item: str, region: str) -> str:
        elsewhere = sorted({p.region for p in self.prices if p.item == item})
        if elsewhere:
            return f"It is known in {', '.join(elsewhere)}"
        here = sorted({p.item for p in self.prices if p.region == region})
        if here:
            return f"Known in {region}: {', '.join(here)}"
        return f"Known regions: {', '.join(sorted({p.region for p in self.prices})) or 'none'}"


_DATA_ITEM = "serverless data processing"


def _serverless_item(memory_mb: int) -> str:
    return f"serverless {memory_mb} MB"


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    region: str
    date: Month
    source: str

    def price(self, item: str, usd: float, unit: Unit) -> Price:
        return Price(item, usd, unit, self.region, self.date, self.source)


class _ServerlessSecond(_Entry):
    usd_by_memory_mb: dict[int, Usd]

    def prices(self) -> Iterator[Price]:
        for memory_mb, usd in self.usd_by_memory_mb.items():
            yield self.price(_serverless_item(memory_mb), usd, "second")


class _InstanceHour(_Entry):
    usd_by_type: dict[str, Usd]

    def prices(self) -> Iterator[Price]:
        for instance_type, usd in self.usd_by_type.items():
            yield self.price(instance_type, usd, "hour")


class _DataProcessedGb(_Entry):
    usd: Usd

    def prices(self) -> Iterator[Price]:
        yield self.price(_DATA_ITEM, self.usd, "GB")


class _Document(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    serverless_second: tuple[_ServerlessSecond, ...] = ()
    instance_hour: tuple[_InstanceHour, ...] = ()
    data_processed_gb: tuple[_DataProcessedGb, ...] = ()

    def prices(self) -> Iterator[Price]:
        for second in self.serverless_second:
            yield from second.prices()
        for hour in self.instance_hour:
            yield from hour.prices()
        for gb in self.data_processed_gb:
            yield from gb.prices()
