"""Prices of hosting: each with its region, its date and its source.

>>> sheet = PriceSheet.load()
>>> sheet.serverless_second(2048).usd
4e-05

A price is looked up by item and region; of several, the newest counts.  A price that the sheet
does not have is an error, never a default: a wrong price would decide a study as surely as a right
one.  Sheets of the user's own are joined to the packaged one.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from drdeploy.errors import InvalidInput, UnknownPrice
from drdeploy.hosting.sagemaker.quotas import DEFAULT_REGION

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

Unit = Literal["second", "hour", "GB", "GB-month", "request"]

Usd = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Month = Annotated[str, StringConstraints(pattern=r"^\d{4}-\d{2}(-\d{2})?$")]


@dataclass(frozen=True)
class Price:
    """One price and where it comes from.

    Attributes:
        item: What is paid for, for example ``serverless 2048 MB``, ``ml.m5.xlarge`` or
            ``serverless data processing``.
        usd: US dollars for one unit.
        unit: The unit, for example ``hour``.
        region: AWS region where it applies.
        date: When the source read it, ``YYYY-MM`` or ``YYYY-MM-DD``.
        source: Who says so.
    """

    item: str
    usd: float
    unit: Unit
    region: str
    date: str
    source: str


@dataclass(frozen=True)
class PriceSheet:
    """Prices of hosting.

    A look-up raises :class:`UnknownPrice` where the sheet has no such price.

    Attributes:
        prices: All prices, of any region and date.
    """

    prices: tuple[Price, ...]

    @classmethod
    def load(cls, path: Path | None = None) -> Self:
        """Read a sheet from a TOML file; the packaged one by default.

        Raises:
            InvalidInput: The file is not TOML, or has an unknown or a missing field.
        """
        source = path or files("drdeploy.hosting.sagemaker") / "prices.toml"
        try:
            document = _Document.model_validate(tomllib.loads(source.read_text("utf-8")))
        except _UNREADABLE as err:
            reason = _sentences(err) if isinstance(err, ValidationError) else str(err)
            raise InvalidInput(
                f"The price sheet cannot be read: {reason}",
                where=str(source),
                remedy="Compare it with the packaged prices.toml",
            ) from err
        return cls(tuple(document.prices()))

    def joined(self, other: PriceSheet) -> PriceSheet:
        """Return both sheets as one; of two prices of the same item, the newer one wins."""
        return PriceSheet((*self.prices, *other.prices))

    def serverless_second(self, memory_mb: int, region: str = DEFAULT_REGION) -> Price:
        """Return the price of a second of processing by a serverless container of that size."""
        return self._newest(_SERVERLESS_ITEM.format(memory_mb), region)

    def instance_hour(self, instance_type: str, region: str = DEFAULT_REGION) -> Price:
        """Return the price of an hour of one instance."""
        return self._newest(instance_type, region)

    def data_processed_gb(self, region: str = DEFAULT_REGION) -> Price:
        """Return the price of a GB into or out of a serverless endpoint."""
        return self._newest(_DATA_ITEM, region)

    def provisioned_held_second(self, memory_mb: int, region: str = DEFAULT_REGION) -> Price:
        """Return the price of keeping a container of that size provisioned for a second."""
        return self._newest(_HELD_ITEM.format(memory_mb), region)

    def provisioned_duration_second(self, memory_mb: int, region: str = DEFAULT_REGION) -> Price:
        """Return the price of a second in which a provisioned container processes requests.

        It is paid on top of :meth:`provisioned_held_second`.
        """
        return self._newest(_DURATION_ITEM.format(memory_mb), region)

    def registry_gb_month(self, region: str = DEFAULT_REGION) -> Price:
        """Return the price of storing a GB of images for a month."""
        return self._newest(_REGISTRY_ITEM, region)

    def bucket_gb_month(self, region: str = DEFAULT_REGION) -> Price:
        """Return the price of storing a GB of artifacts for a month."""
        return self._newest(_BUCKET_ITEM, region)

    def request(self, region: str = DEFAULT_REGION) -> Price | None:
        """Return the price of one request, or None.

        SageMaker charges none; a sheet may have one, to model a provider that does.
        """
        known = [p for p in self.prices if p.item == _REQUEST_ITEM and p.region == region]
        return max(known, key=lambda price: price.date) if known else None

    def _newest(self, item: str, region: str) -> Price:
        known = [p for p in self.prices if p.item == item and p.region == region]
        if not known:
            raise UnknownPrice(
                f"No price is known for {item} in {region}",
                where="price sheet",
                remedy=f"{self._known_instead(item, region)}; add the price to a sheet of your own",
            )
        # Dates are ISO 8601, so the newest is the largest as text.
        return max(known, key=lambda price: price.date)

    def _known_instead(self, item: str, region: str) -> str:
        elsewhere = sorted({p.region for p in self.prices if p.item == item})
        if elsewhere:
            return f"It is known in {', '.join(elsewhere)}"
        here = sorted({p.item for p in self.prices if p.region == region})
        if here:
            return f"Known in {region}: {', '.join(here)}"
        return f"Known regions: {', '.join(sorted({p.region for p in self.prices})) or 'none'}"


_DATA_ITEM = "serverless data processing"
_REGISTRY_ITEM = "image storage"
_BUCKET_ITEM = "artifact storage"
_REQUEST_ITEM = "request"
_SERVERLESS_ITEM = "serverless {} MB"
_HELD_ITEM = "provisioned concurrency {} MB, held"
_DURATION_ITEM = "provisioned concurrency {} MB, at work"


_UNREADABLE = (
    OSError,
    UnicodeDecodeError,
    tomllib.TOMLDecodeError,
    RecursionError,  # arrays in arrays in arrays
    ValidationError,
)


def _sentences(error: ValidationError) -> str:
    """Return pydantic's errors on one line: ``instance_hour.0.date: Field required``."""
    return "; ".join(
        f"{'.'.join(map(str, detail['loc'])) or 'the sheet'}: {detail['msg']}"
        for detail in error.errors()
    )


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    region: str
    date: Month
    source: str

    def price(self, item: str, usd: float, unit: Unit) -> Price:
        return Price(item, usd, unit, self.region, self.date, self.source)


class _ServerlessSecond(_Entry):
    usd_by_memory_mb: dict[int, Usd]


class _InstanceHour(_Entry):
    usd_by_type: dict[str, Usd]


class _ProvisionedSecond(_Entry):
    held_usd_by_memory_mb: dict[int, Usd]
    duration_usd_by_memory_mb: dict[int, Usd]


class _Single(_Entry):
    usd: Usd


class _Document(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    serverless_second: tuple[_ServerlessSecond, ...] = ()
    provisioned_second: tuple[_ProvisionedSecond, ...] = ()
    instance_hour: tuple[_InstanceHour, ...] = ()
    data_processed_gb: tuple[_Single, ...] = ()
    registry_gb_month: tuple[_Single, ...] = ()
    bucket_gb_month: tuple[_Single, ...] = ()
    request: tuple[_Single, ...] = ()

    def prices(self) -> Iterator[Price]:
        for second in self.serverless_second:
            for memory_mb, usd in second.usd_by_memory_mb.items():
                yield second.price(_SERVERLESS_ITEM.format(memory_mb), usd, "second")
        for provisioned in self.provisioned_second:
            for memory_mb, usd in provisioned.held_usd_by_memory_mb.items():
                yield provisioned.price(_HELD_ITEM.format(memory_mb), usd, "second")
            for memory_mb, usd in provisioned.duration_usd_by_memory_mb.items():
                yield provisioned.price(_DURATION_ITEM.format(memory_mb), usd, "second")
        for hour in self.instance_hour:
            for instance_type, usd in hour.usd_by_type.items():
                yield hour.price(instance_type, usd, "hour")
        singles: tuple[tuple[str, Unit, tuple[_Single, ...]], ...] = (
            (_DATA_ITEM, "GB", self.data_processed_gb),
            (_REGISTRY_ITEM, "GB-month", self.registry_gb_month),
            (_BUCKET_ITEM, "GB-month", self.bucket_gb_month),
            (_REQUEST_ITEM, "request", self.request),
        )
        for item, unit, entries in singles:
            yield from (entry.price(item, entry.usd, unit) for entry in entries)
