import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drdeploy.errors import (
    EmptyBody,
    MalformedRequest,
    PayloadTooLarge,
    RequestRefused,
    UnsupportedImage,
)
from drdeploy.hosting.serving.multipart import MAX_FIELDS
from drdeploy.hosting.serving.payload import images_of

IMAGES = [b"\xff\xd8first", b"\xff\xd8second"]
MULTIPART = "multipart/form-data; boundary=line"


def multipart(*parts: bytes, headers: str = "Content-Type: image/jpeg") -> bytes:
    opened = b"".join(
        b'--line\r\nContent-Disposition: form-data; name="f"; filename="a.jpg"\r\n'
        + headers.encode()
        + b"\r\n\r\n"
        + part
        + b"\r\n"
        for part in parts
    )
    return opened + b"--line--\r\n"


def test_a_raw_body_is_one_image_whatever_image_type_is_named():
    for content_type in ("", "image/jpeg", "image/x-whatever", "application/octet-stream"):
        assert list(images_of(content_type, IMAGES[0], max_images=1)) == IMAGES[:1]


def test_multipart_keeps_the_order_of_its_parts():
    assert list(images_of(MULTIPART, multipart(*IMAGES), max_images=2)) == IMAGES


def form(*parts: tuple[str, bytes]) -> bytes:
    body = b"".join(
        f"--line\r\n{headers}\r\n\r\n".encode() + content + b"\r\n" for headers, content in parts
    )
    return body + b"--line--\r\n"


FILE = 'Content-Disposition: form-data; name="photo"; filename="a.jpg"'
FIELD = 'Content-Disposition: form-data; name="patient"'


def test_the_text_fields_of_a_form_are_no_images():
    body = form(
        (FIELD, b"17"),
        (FILE, b"first"),
        (f"{FIELD}\r\nContent-Type: text/plain", b"left eye"),
        (f"{FIELD}\r\nContent-Type: image/png", b"second"),
        (f"CONTENT-TYPE: application/json\r\n{FILE.lower()}", b"third"),
    )
    assert list(images_of(MULTIPART, body, max_images=3)) == [b"first", b"second", b"third"]


def test_a_form_without_a_file_holds_no_image():
    with pytest.raises(EmptyBody, match="no image"):
        images_of(MULTIPART, form((FIELD, b"17")), max_images=3)


def test_a_form_has_no_more_fields_than_any_form_needs():
    fields = [(FIELD, b"17")] * MAX_FIELDS
    assert list(images_of(MULTIPART, form(*fields, (FILE, b"x")), max_images=1)) == [b"x"]
    with pytest.raises(PayloadTooLarge, match="fields"):
        images_of(MULTIPART, form(*fields, (FIELD, b"17"), (FILE, b"x")), max_images=1)


@given(st.lists(st.binary(min_size=1, max_size=300), min_size=1, max_size=5))
def test_multipart_gives_back_every_byte(parts):
    parts = [part.replace(b"--line", b"") or b"x" for part in parts]
    assert list(images_of(MULTIPART, multipart(*parts), max_images=5)) == parts


def test_json_takes_base64_in_a_list_or_as_instances():
    texts = [base64.b64encode(image).decode() for image in IMAGES]
    as_list = json.dumps(texts).encode()
    as_instances = json.dumps({"instances": [{"b64": text} for text in texts]}).encode()
    assert list(images_of("application/json", as_list, max_images=2)) == IMAGES
    assert list(images_of("application/json", as_instances, max_images=2)) == IMAGES


@pytest.mark.parametrize(
    ("content_type", "body", "refusal"),
    [
        ("image/jpeg", b"", EmptyBody),
        ("application/json", b"[]", EmptyBody),
        (MULTIPART, b"--line--\r\n", EmptyBody),
        ("application/json", b"{", MalformedRequest),
        ("application/json", b'["no base64!"]', MalformedRequest),
        ("application/json", b'{"instances": [1]}', MalformedRequest),
        ("application/json", b"[" * 100_000, MalformedRequest),
        ("application/json", b'"\xff"', MalformedRequest),
        ("multipart/form-data", multipart(*IMAGES), MalformedRequest),
        (MULTIPART, b"no boundary at all", MalformedRequest),
        (MULTIPART, multipart(*IMAGES)[:-12], MalformedRequest),
        (MULTIPART, multipart(*IMAGES, b"third"), PayloadTooLarge),
        (MULTIPART, multipart(b"x", headers="X: " + "y" * 5000), MalformedRequest),
        ("application/json", b'["eA==", "eA==", "eA=="]', PayloadTooLarge),
        ("text/html", b"<p>", UnsupportedImage),
    ],
)
def test_a_body_without_images_is_refused(content_type, body, refusal):
    with pytest.raises(refusal):
        images_of(content_type, body, max_images=2)


@given(
    st.sampled_from(["application/json", MULTIPART, "multipart/form-data; boundary=-"]),
    st.binary(max_size=400),
)
def test_any_body_is_either_images_or_refused(content_type, body):
    try:
        images = images_of(content_type, body, max_images=3)
    except RequestRefused:
        return
    assert 1 <= len(images) <= 3
    assert all(isinstance(image, bytes) for image in images)
    assert sum(map(len, images)) < len(body)  # what stands around them takes bytes, too
