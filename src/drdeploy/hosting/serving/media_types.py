"""The content types that clients use if the whole body of a request is one image file."""

BINARY_TYPES = frozenset({
    "application/octet-stream",
    "binary/octet-stream",  # S3's type of an object that was uploaded without a type
    "application/binary",
    "application/x-binary",
    "application/x-octet-stream",
    "application/x-image",  # the type for SageMaker's built-in image classifiers
})  # fmt: skip
"""Content types that do not say what the bytes are."""

# curl sends --data-binary @photo.jpg with the content type of a form.
RAW_TYPES = BINARY_TYPES | {"", "application/x-www-form-urlencoded"}
"""The content types, besides ``image/*``, of bodies that are one image."""
