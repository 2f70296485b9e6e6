"""Look up what hosting costs in a price sheet, where each price has a region, a date and a source.

>>> sheet = PriceSheet.load()
>>> sheet.serverless_second(2048).usd
4e-05

A price is looked up by item and region. If a sheet has several prices of an item, the newest price
counts. A missing price is an error, and no default price is used, because a wrong price could
change a decision. A user's own price sheet replaces the packaged one. :meth:`PriceSheet.joined`
combines two sheets.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
)

from drdeploy.errors import InvalidInput, UnknownPrice
from drdeploy.files import read_toml_file
from drdeploy.hosting.sagemaker.api_limits import DEFAULT_REGION

if TYPE_CHECKING:
    from collections.abc import Iterator

Unit = Literal["second", "hour", "month", "GB", "GB-month", "request"]

Usd = Annotated[float, Field(ge=0, allow_inf_nan=False)]


def _require_day_of_calendar(text: str) -> str:
    dt.date.fromisoformat(text if len(text) > len("2026-05") else f"{text}-01")
    return text


Month = Annotated[
    str,
    StringConstraints(pattern=r"^\d{4}-\d{2}(-\d{2})?$"),
    AfterValidator(_require_day_of_calendar),
]


@dataclass(frozen=True)
class Price:
    """One price and its source.

    Attributes:
        item: The item that is paid for, for example ``serverless 2048 MB``, ``ml.m5.xlarge`` or
            ``data processing``.
        usd: US dollars for one unit.
        unit: The unit, for example ``hour``.
        region: The AWS region in which the price applies.
        date: When the price was read from the source, ``YYYY-MM`` or ``YYYY-MM-DD``.
        source: The publisher of the price.
    """

    item: str
    usd: float
    unit: Unit
    region: str
    date: str
    source: str


@dataclass(frozen=True)
class PriceSheet:
    """A collection of prices of hosting.

    Each method that looks up a price raises :class:`UnknownPrice` if the sheet lacks the price.

    Attributes:
        prices: All prices, of all regions and dates.
    """

    prices: tuple[Price, ...]

    @classmethod
    def load(cls, path: Path | None = None) -> Self:
        """Read a price sheet from a TOML file, by default the packaged price sheet.

        Raises:
            InvalidInput: The file cannot be read or is not TOML, or a field is wrong, unknown or
                missing.
        """
        source = path or _PACKAGED_SHEET
        try:
            document = _PriceDocument.model_validate(read_toml_file(source))
        except OSError as err:
            raise InvalidInput(
                f"The price sheet cannot be read: {err.strerror}",
                where=str(source),
                remedy="Give a price sheet that you may read; `drdeploy prices update` writes one",
            ) from err
        except ValueError as err:
            reason = (
                _format_validation_errors(err) if isinstance(err, ValidationError) else str(err)
            )
            raise InvalidInput(
                f"The price sheet cannot be read: {reason}",
                where=str(source),
                remedy=(
                    "Compare your file with the packaged `prices.toml`. Convert prices in "
                    "other currencies to US dollars"
                ),
            ) from err
        return cls(tuple(document.list_prices()))

    def joined(self, other: PriceSheet) -> PriceSheet:
        """Return a sheet with the prices of both sheets.

        If both sheets have a price of the same item in the same region, the price with the later
        date is used.
        """
        return PriceSheet((*self.prices, *other.prices))

    def serverless_second(self, memory_mb: int, region: str = DEFAULT_REGION) -> Price:
        """Return the price of one second of processing by a serverless container."""
        return self._find_newest_price(_SERVERLESS_ITEM.format(memory_mb), region)

    def instance_hour(self, instance_type: str, region: str = DEFAULT_REGION) -> Price:
        """Return the price of an hour of one instance."""
        return self._find_newest_price(instance_type, region)

    def asynchronous_hour(self, instance_type: str, region: str = DEFAULT_REGION) -> Price:
        """Return the price of an hour of one instance of an asynchronous endpoint."""
        return self._find_newest_price(_ASYNCHRONOUS_ITEM.format(instance_type), region)

    def batch_hour(self, instance_type: str, region: str = DEFAULT_REGION) -> Price:
        """Return the price of an hour of one instance of a batch transform job."""
        return self._find_newest_price(_BATCH_ITEM.format(instance_type), region)

    def data_processed_gb(self, region: str = DEFAULT_REGION) -> Price:
        """Return the price of a GB that is sent into or out of an endpoint."""
        return self._find_newest_price(_DATA_ITEM, region)

    def provisioned_held_second(self, memory_mb: int, region: str = DEFAULT_REGION) -> Price:
        """Return the price of keeping a container provisioned for a second."""
        return self._find_newest_price(_HELD_ITEM.format(memory_mb), region)

    def provisioned_processing_second(self, memory_mb: int, region: str = DEFAULT_REGION) -> Price:
        """Return the price of a second in which a provisioned container processes requests.

        The price of processing is paid in addition to :meth:`provisioned_held_second`.
        """
        return self._find_newest_price(_DURATION_ITEM.format(memory_mb), region)

    def registry_gb_month(self, region: str = DEFAULT_REGION) -> Price:
        """Return the price of storing a GB of container images for a month."""
        return self._find_newest_price(_REGISTRY_ITEM, region)

    def bucket_gb_month(self, region: str = DEFAULT_REGION) -> Price:
        """Return the price of storing a GB of model archives for a month."""
        return self._find_newest_price(_BUCKET_ITEM, region)

    def other_service(self, item: str, region: str = DEFAULT_REGION) -> Price:
        """Return the price of an item of another AWS service, for example of a ``KMS key``."""
        return self._find_newest_price(item, region)

    def request(self, region: str = DEFAULT_REGION) -> Price | None:
        """Return the price of one request, or None if the sheet has no price per request.

        SageMaker charges nothing per request. A price sheet may contain such a price, for example
        for another cloud provider.
        """
        known = [p for p in self.prices if p.item == _REQUEST_ITEM and p.region == region]
        return max(known, key=lambda price: price.date) if known else None

    def _find_newest_price(self, item: str, region: str) -> Price:
        known = [p for p in self.prices if p.item == item and p.region == region]
        if not known:
            instead = self._describe_known_prices(item, region)
            raise UnknownPrice(
                f"No price is known for {item} in {region}",
                where="price sheet",
                remedy=f"{instead}. `drdeploy prices update --region {region}` writes a sheet with "
                "the prices of AWS; pass it, or a sheet of your own, with --prices",
            )
        # Dates are ISO 8601, so the newest is the largest as text.
        return max(known, key=lambda price: price.date)

    def _describe_known_prices(self, item: str, region: str) -> str:
        elsewhere = sorted({p.region for p in self.prices if p.item == item})
        if elsewhere:
            return f"The price is known in {', '.join(elsewhere)}"
        here = sorted({p.item for p in self.prices if p.region == region})
        if here:
            similar = ", ".join(get_close_matches(item, here, n=_SIMILAR))
            known = f"Similar prices that are known: {similar}. " if similar else ""
            return f"{known}`drdeploy prices show` lists all known prices"
        regions = ", ".join(sorted({p.region for p in self.prices}))
        return f"The regions with known prices are: {regions or 'none'}"


_SIMILAR = 3
"""How many similar items a message about an unknown price names."""
_PACKAGED_SHEET = Path(__file__).with_name("prices.toml")
_DATA_ITEM = "data processing"
_ASYNCHRONOUS_ITEM = "asynchronous {}"
_BATCH_ITEM = "batch transform {}"
_REGISTRY_ITEM = "image storage"
_BUCKET_ITEM = "artifact storage"
_REQUEST_ITEM = "request"
_SERVERLESS_ITEM = "serverless {} MB"
_HELD_ITEM = "provisioned concurrency {} MB, held"
_DURATION_ITEM = "provisioned concurrency {} MB, at work"


def _format_validation_errors(error: ValidationError) -> str:
    """Return pydantic's errors on one line: ``instance_hour.0.date: Field required``."""
    return "; ".join(
        f"{'.'.join(map(str, detail['loc'])) or 'the sheet'}: {detail['msg']}"
        for detail in error.errors()
    )


class _PriceEntry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    region: str
    date: Month
    source: str

    def make_price(self, item: str, usd: float, unit: Unit) -> Price:
        return Price(item, usd, unit, self.region, self.date, self.source)


class _ServerlessSecond(_PriceEntry):
    usd_by_memory_mb: dict[int, Usd]


class _InstanceHour(_PriceEntry):
    usd_by_type: dict[str, Usd]


class _ProvisionedSecond(_PriceEntry):
    held_usd_by_memory_mb: dict[int, Usd]
    duration_usd_by_memory_mb: dict[int, Usd]

    def list_prices(self) -> Iterator[Price]:
        for memory_mb, usd in self.held_usd_by_memory_mb.items():
            yield self.make_price(_HELD_ITEM.format(memory_mb), usd, "second")
        for memory_mb, usd in self.duration_usd_by_memory_mb.items():
            yield self.make_price(_DURATION_ITEM.format(memory_mb), usd, "second")


class _Single(_PriceEntry):
    usd: Usd


class _OtherService(_PriceEntry):
    usd_per_hour: dict[str, Usd] = {}
    usd_per_month: dict[str, Usd] = {}
    usd_per_gb: dict[str, Usd] = {}
    usd_per_gb_month: dict[str, Usd] = {}
    usd_per_request: dict[str, Usd] = {}

    def list_prices(self) -> Iterator[Price]:
        by_unit: tuple[tuple[Unit, dict[str, float]], ...] = (
            ("hour", self.usd_per_hour),
            ("month", self.usd_per_month),
            ("GB", self.usd_per_gb),
            ("GB-month", self.usd_per_gb_month),
            ("request", self.usd_per_request),
        )
        for unit, usd_by_item in by_unit:
            for item, usd in usd_by_item.items():
                yield self.make_price(item, usd, unit)


class _PriceDocument(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    serverless_second: tuple[_ServerlessSecond, ...] = ()
    provisioned_second: tuple[_ProvisionedSecond, ...] = ()
    instance_hour: tuple[_InstanceHour, ...] = ()
    asynchronous_hour: tuple[_InstanceHour, ...] = ()
    batch_hour: tuple[_InstanceHour, ...] = ()
    data_processed_gb: tuple[_Single, ...] = ()
    registry_gb_month: tuple[_Single, ...] = ()
    bucket_gb_month: tuple[_Single, ...] = ()
    request: tuple[_Single, ...] = ()
    other_service: tuple[_OtherService, ...] = ()

    def list_prices(self) -> Iterator[Price]:
        for second in self.serverless_second:
            for memory_mb, usd in second.usd_by_memory_mb.items():
                yield second.make_price(_SERVERLESS_ITEM.format(memory_mb), usd, "second")
        various: tuple[_ProvisionedSecond | _OtherService, ...]
        various = (*self.provisioned_second, *self.other_service)
        for entry in various:
            yield from entry.list_prices()
        hours = (
            ("{}", self.instance_hour),
            (_ASYNCHRONOUS_ITEM, self.asynchronous_hour),
            (_BATCH_ITEM, self.batch_hour),
        )
        for item, entries in hours:
            for hour in entries:
                for instance_type, usd in hour.usd_by_type.items():
                    yield hour.make_price(item.format(instance_type), usd, "hour")
        singles: tuple[tuple[str, Unit, tuple[_Single, ...]], ...] = (
            (_DATA_ITEM, "GB", self.data_processed_gb),
            (_REGISTRY_ITEM, "GB-month", self.registry_gb_month),
            (_BUCKET_ITEM, "GB-month", self.bucket_gb_month),
            (_REQUEST_ITEM, "request", self.request),
        )
        for item, unit, prices in singles:
            yield from (price.make_price(item, price.usd, unit) for price in prices)
