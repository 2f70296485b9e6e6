"""Turn stored samples into 8-bit RGB, as the file's attributes say."""

from __future__ import annotations

import io
import math
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageCms

from drdeploy.errors import UnsupportedImage, turn_import_error_into_missing_extra
from drdeploy.units import MIB

with turn_import_error_into_missing_extra("clinic", "A DICOM file"):
    from pydicom.multival import MultiValue
    from pydicom.pixels.processing import apply_color_lut, apply_modality_lut, apply_voi

if TYPE_CHECKING:
    import pydicom
    from numpy.typing import NDArray

    from drdeploy.grader.dicom.decoding import PixelFormat

MAX_PROFILE_BYTES = MIB
"""The largest colour profile that is read. A camera's profile has a few kilobytes, or a few hundred
kilobytes with large tables."""
SAME_COLOUR_LEVELS = 3
"""A profile counts as sRGB if it changes colours by at most this many levels of 255.

Cameras write many versions of sRGB.
"""
MAX_STRETCH = 0.02
"""A pixel whose sides differ by no more than this share counts as square."""


def make_rgb(
    samples: NDArray[np.generic], dataset: pydicom.Dataset, pixels: PixelFormat
) -> NDArray[np.uint8]:
    """Return a frame's samples as RGB.

    Raises:
        UnsupportedImage: The attributes require a feature that photographs do not have.
    """
    if pixels.samples == 3:
        return _make_rgb_of_colours(samples, pixels)
    if pixels.photometric == "PALETTE COLOR":
        return _look_up_palette(samples, dataset)
    return _make_rgb_of_greys(samples, dataset, pixels)


def refuse_stretched_pixels(dataset: pydicom.Dataset) -> None:
    """Refuse pixels that are not square.

    The next steps expect the eye to be a disc in the picture. With other pixels, it is an ellipse.

    Raises:
        UnsupportedImage: The pixels are not square.
    """
    for name in ("PixelAspectRatio", "PixelSpacing"):
        try:
            down, across = (float(value) for value in dataset.get(name) or (1, 1))
        except (TypeError, ValueError):
            continue  # a value that is not a pair of numbers says nothing
        if down <= 0 or across <= 0 or abs(down / across - 1) > MAX_STRETCH:
            raise UnsupportedImage(
                "The pixels of the DICOM file are not square",
                remedy="Export the photograph with square pixels",
            )


def _make_rgb_of_colours(samples: NDArray[np.generic], pixels: PixelFormat) -> NDArray[np.uint8]:
    eight = _scale_to_eight_bits(samples, pixels)
    if pixels.codestream_photometric != "YBR_FULL":
        return np.ascontiguousarray(eight)
    return np.asarray(Image.fromarray(np.ascontiguousarray(eight), "YCbCr").convert("RGB"))


def _scale_to_eight_bits(samples: NDArray[np.generic], pixels: PixelFormat) -> NDArray[np.uint8]:
    if pixels.bits_stored == 8:
        return samples.astype(np.uint8, copy=False)
    most = (1 << pixels.bits_stored) - 1
    scaled = samples.astype(np.float32) * np.float32(255 / most)
    return np.asarray(np.rint(np.minimum(scaled, 255)), np.uint8)


def _look_up_palette(samples: NDArray[np.generic], dataset: pydicom.Dataset) -> NDArray[np.uint8]:
    if "SegmentedRedPaletteColorLookupTableData" in dataset:
        raise UnsupportedImage(
            "Segmented palettes in DICOM files are not supported",
            remedy="Export the photograph as RGB",
        )
    colours = apply_color_lut(samples, dataset)[..., :3]
    # Entries of 16 bits hold colours of 16 bits, but some writers store 8 of them.
    if colours.dtype != np.uint8 and colours.max() > 255:
        colours = colours >> 8
    return np.ascontiguousarray(colours.astype(np.uint8))


def _make_rgb_of_greys(
    samples: NDArray[np.generic], dataset: pydicom.Dataset, pixels: PixelFormat
) -> NDArray[np.uint8]:
    """Turn grey samples into RGB as a DICOM viewer does (PS3.4, N.2).

    First the rescale is applied, and then the window or the lookup table for display.
    """
    stored = samples
    if pixels.is_signed:
        unused = 8 * samples.dtype.itemsize - pixels.bits_stored
        signed = np.dtype(f"i{samples.dtype.itemsize}")
        stored = (samples << unused).view(signed) >> unused  # type: ignore[operator]
    slope = _read_finite_numbers(dataset.get("RescaleSlope") or 1)
    intercept = _read_finite_numbers(dataset.get("RescaleIntercept") or 0)
    least = -(1 << (pixels.bits_stored - 1)) if pixels.is_signed else 0
    most = least + (1 << pixels.bits_stored) - 1
    values = apply_modality_lut(stored, dataset).astype(np.float32)
    if "ModalityLUTSequence" in dataset:
        low, high = 0.0, float((1 << dataset.ModalityLUTSequence[0].LUTDescriptor[2]) - 1)
    else:
        low, high = sorted((least * slope + intercept, most * slope + intercept))
    window = _find_grey_window(dataset)
    if window is not None:
        low, high = window
    elif "VOILUTSequence" in dataset:
        values = apply_voi(values.astype(np.int32), dataset).astype(np.float32)
        low, high = 0.0, float((1 << dataset.VOILUTSequence[0].LUTDescriptor[2]) - 1)
    grey = np.clip((values - low) * np.float32(255 / max(high - low, 1e-6)), 0, 255)
    if pixels.photometric == "MONOCHROME1":
        grey = 255 - grey
    return np.repeat(np.rint(grey).astype(np.uint8)[..., None], 3, axis=2)


def _read_finite_numbers(value: Any) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise UnsupportedImage(
            "The DICOM file has a rescale or window value that is not a finite number",
            remedy="Export the photograph as RGB",
        )
    return number


def _find_grey_window(dataset: pydicom.Dataset) -> tuple[float, float] | None:
    """Return the values that are shown as black and as white; None if the file has no window.

    If the file has several windows, the first one is used.
    """
    if not dataset.get("WindowWidth"):
        return None
    centre, width = (
        _read_finite_numbers(value[0] if isinstance(value, MultiValue) else value)
        for value in (dataset.WindowCenter, dataset.WindowWidth)
    )
    function = dataset.get("VOILUTFunction") or "LINEAR"
    if function == "SIGMOID":
        raise UnsupportedImage(
            "The DICOM file's window function SIGMOID is not supported",
            remedy="Export the photograph as RGB",
        )
    if function == "LINEAR":  # PS3.3, C.11.2.1.2.1: half a step aside
        centre, width = centre - 0.5, max(width - 1, 1e-6)
    return centre - width / 2, centre + width / 2


class ColourProfile:
    """The conversion from a file's colours to sRGB; models were trained on photographs in sRGB.

    Attributes:
        note: A sentence that tells the user that a profile could not be used; usually empty.
    """

    def __init__(self, dataset: pydicom.Dataset) -> None:
        self.note = ""
        self._transform: ImageCms.ImageCmsTransform | None = None
        profile = dataset.get("ICCProfile")
        if not profile:
            return
        try:
            self._transform = _build_transform_to_srgb(bytes(profile))
        except (ImageCms.PyCMSError, OSError, TypeError, ValueError):
            self.note = "The colour profile in the DICOM file cannot be read and was not applied."

    @property
    def changes_colours(self) -> bool:
        """Whether the file's colours differ from sRGB."""
        return self._transform is not None

    def convert_to_srgb(self, rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return a picture in sRGB."""
        if self._transform is None:
            return rgb
        return np.asarray(ImageCms.applyTransform(Image.fromarray(rgb), self._transform))


def _build_transform_to_srgb(profile: bytes) -> ImageCms.ImageCmsTransform | None:
    """Return the conversion from a colour profile to sRGB; None if colours hardly change."""
    if len(profile) > MAX_PROFILE_BYTES:
        raise ValueError("too large")
    source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    if source.profile.xcolor_space.strip() != "RGB":
        raise ValueError("not of RGB")
    transform = ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), "RGB", "RGB")
    steps = np.arange(0, 256, 15, dtype=np.uint8)
    grid = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(len(steps), -1, 3)
    changed = np.asarray(ImageCms.applyTransform(Image.fromarray(grid), transform))
    largest = np.abs(changed.astype(np.int16) - grid.astype(np.int16)).max()
    return transform if largest > SAME_COLOUR_LEVELS else None
