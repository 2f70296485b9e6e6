import base64
import json
import tracemalloc

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
from drdeploy.hosting.serving import payload
from drdeploy.hosting.serving.budgets import PLACE_BYTES, make_worker_budgets
from drdeploy.hosting.serving.capacity import Capacity
from drdeploy.hosting.serving.settings import Settings

IMAGES = [b"\xff\xd8first", b"\xff\xd8second"]
JPEG = b"\xff\xd8\xff\xe0" + bytes(range(256))
BASE64 = base64.b64encode(JPEG).decode()
URL_SAFE = base64.urlsafe_b64encode(JPEG).decode()
WRAPPED = base64.encodebytes(JPEG).decode()
MULTIPART = "multipart/form-data; boundary=line"
ONE = Capacity(workers=1, concurrency=1, threads=1)


def extract_images_from_body(content_type, body, *, max_images):
    return payload.extract_images_from_body(
        content_type, body, make_worker_budgets(Settings(max_images=max_images), ONE)
    )


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


@pytest.mark.parametrize(
    "content_type",
    ["", "image/jpg", "image/pjpeg", "IMAGE/JPEG; q=1", "image/x-whatever", "binary/octet-stream",
     "application/octet-stream; charset=binary", "application/binary", "application/x-image",
     "application/x-www-form-urlencoded"],
)  # fmt: skip
def test_bytes_of_an_image_or_of_no_known_type_are_one_image(content_type):
    for body in (JPEG, b"bytes that only a decoder can check"):
        assert list(extract_images_from_body(content_type, body, max_images=1)) == [body]


@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/json", "multipart/form-data", "application/jpg"]
)
def test_a_photograph_is_a_photograph_whatever_its_type_says(content_type):
    assert list(extract_images_from_body(content_type, JPEG, max_images=1)) == [JPEG]


def test_multipart_keeps_the_order_of_its_parts():
    assert list(extract_images_from_body(MULTIPART, multipart(*IMAGES), max_images=2)) == IMAGES


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
    assert list(extract_images_from_body(MULTIPART, body, max_images=3)) == [
        b"first",
        b"second",
        b"third",
    ]


@pytest.mark.parametrize(
    "headers",
    [
        f"{FILE}\r\nContent-Type: application/octet-stream",
        f"{FIELD}\r\nContent-Type: binary/octet-stream",
        FIELD,
        "Content-Type: image/jpeg",
        "X: no header that says anything",
        f"{FILE}\r\nContent-Type: text/plain",
    ],
)
def test_a_photograph_in_a_form_is_known_by_its_bytes(headers):
    for content in (JPEG, BASE64.encode(), f"data:image/jpeg;base64,{BASE64}".encode()):
        body = form((headers, content), (FIELD, b"17"), ("Content-Type: text/plain", b"left"))
        for content_type in (MULTIPART, "multipart/mixed; boundary=line", "multipart/form-data"):
            assert list(extract_images_from_body(content_type, body, max_images=1)) == [JPEG]


def test_a_file_field_that_nobody_filled_in_is_no_image():
    unfilled = 'Content-Disposition: form-data; name="second"; filename=""'
    empty = (f"{unfilled}\r\nContent-Type: application/octet-stream", b"")
    assert list(
        extract_images_from_body(MULTIPART, form(empty, (FILE, b"x"), empty), max_images=1)
    ) == [b"x"]
    with pytest.raises(EmptyBody, match="no image"):
        extract_images_from_body(MULTIPART, form(empty), max_images=1)
    with pytest.raises(EmptyBody, match="A file sent with the form is empty"):
        extract_images_from_body(MULTIPART, form((FILE, b"x"), (FILE, b"")), max_images=2)


def test_what_a_script_adds_to_a_form_as_json_is_no_image():
    blob = 'Content-Disposition: form-data; name="about"; filename="blob"'
    about = (f"{blob}\r\nContent-Type: application/json", b'{"eye": "left"}')
    photograph = (f"{blob}\r\nContent-Type: image/jpeg", b"x")
    assert list(extract_images_from_body(MULTIPART, form(about, photograph), max_images=1)) == [
        b"x"
    ]


def test_a_form_without_a_file_holds_no_image():
    with pytest.raises(EmptyBody, match="no image"):
        extract_images_from_body(MULTIPART, form((FIELD, b"17")), max_images=3)


def test_a_form_has_no_more_fields_than_any_form_needs():
    fields = [(FIELD, b"17")] * 32
    assert list(extract_images_from_body(MULTIPART, form(*fields, (FILE, b"x")), max_images=1)) == [
        b"x"
    ]
    with pytest.raises(PayloadTooLarge, match="fields"):
        extract_images_from_body(
            MULTIPART, form(*fields, (FIELD, b"17"), (FILE, b"x")), max_images=1
        )


@given(st.lists(st.binary(min_size=1, max_size=300), min_size=1, max_size=5))
def test_multipart_gives_back_every_byte(parts):
    parts = [b"\0" + part.replace(b"--line", b"") for part in parts]
    assert list(extract_images_from_body(MULTIPART, multipart(*parts), max_images=5)) == parts


def test_json_takes_base64_in_a_list_or_as_instances():
    texts = [base64.b64encode(image).decode() for image in IMAGES]
    as_list = json.dumps(texts).encode()
    as_instances = json.dumps({"instances": [{"b64": text} for text in texts]}).encode()
    assert list(extract_images_from_body("application/json", as_list, max_images=2)) == IMAGES
    assert list(extract_images_from_body("application/json", as_instances, max_images=2)) == IMAGES


@pytest.mark.parametrize(
    "content",
    [
        BASE64,
        [BASE64],
        [{"b64": BASE64}],
        {"instances": [BASE64]},
        {"instances": [{"b64": BASE64, "id": 1}], "signature_name": "serving_default"},
        {"instances": [{"image_bytes": {"b64": BASE64}, "key": "1"}]},
        {"instances": [{"content": BASE64, "mimeType": "image/jpeg"}]},
        {"inputs": BASE64, "parameters": {"top_k": 1}},
        {"inputs": [{"name": "x", "shape": [1], "datatype": "BYTES", "data": [BASE64]}]},
        {"image": BASE64, "patient": "17"},
        {"photo": BASE64, "eye": "left"},
        json.dumps([BASE64]),
    ],
)
def test_json_in_the_shapes_of_other_model_servers(content):
    as_json = json.dumps(content)
    for body in (as_json.encode(), b"\xef\xbb\xbf" + as_json.encode(), as_json.encode("utf-16")):
        assert list(extract_images_from_body("application/json", body, max_images=1)) == [JPEG]


@pytest.mark.parametrize(
    "text",
    [
        BASE64.rstrip("="),
        URL_SAFE,
        URL_SAFE.rstrip("="),
        WRAPPED,
        WRAPPED.replace("\n", "\r\n"),
        f"b'{BASE64}'",
        f"data:image/jpeg;base64,{BASE64}",
        f"DATA:image/jpeg;name=eye.jpg;base64,{BASE64}",
        f"data:;base64,{BASE64.replace('+', '%2B').replace('/', '%2f').replace('=', '%3D')}",
    ],
)
def test_base64_however_it_was_written(text):
    assert list(
        extract_images_from_body("application/json", json.dumps([text]).encode(), max_images=1)
    ) == [JPEG]
    assert list(extract_images_from_body("text/plain", text.encode(), max_images=1)) == [JPEG]


def test_line_breaks_that_a_shell_put_into_json_are_left_out():
    body = f'{{"image":\n"{WRAPPED}"}}'.encode()
    assert list(extract_images_from_body("application/json", body, max_images=1)) == [JPEG]


@pytest.mark.parametrize(
    "content_type", ["", "text/json", "text/plain", "application/octet-stream"]
)
def test_json_is_read_whatever_its_type_says(content_type):
    body = json.dumps({"image": BASE64}).encode()
    for document in (body, b" \n" + body, b"\xef\xbb\xbf" + body):
        assert list(extract_images_from_body(content_type, document, max_images=1)) == [JPEG]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ({"image": BASE64, "images": [BASE64]}, "both 'images' and 'image'"),
        ({"left": BASE64, "right": BASE64}, "several members"),
        ({"patient": "17"}, "none of the members instances, inputs"),
        ({"inputs": [[0.1, 0.2]]}, "a number.* not the values of its pixels"),
        ([None], "null in the place of an image"),
        (["https://example.org/eye.jpg"], "does not fetch images"),
        (["s3://bucket/eye.jpg"], "does not fetch images"),
        ([BASE64.replace("+", " ").replace("/", " ")], "contains spaces"),
        (["eye.jpg"], "is not base64"),
        (["data:image/jpeg,%FF%D8"], "`data:` URL .* is not in base64"),
        ([[[[[[[BASE64]]]]]]], "nests its images"),
    ],
)
def test_json_whose_meaning_is_not_certain_is_refused_with_what_is_wrong(content, why):
    with pytest.raises(MalformedRequest, match=why):
        extract_images_from_body("application/json", json.dumps(content).encode(), max_images=2)


@pytest.mark.parametrize("body", [b"{'image': 'eA=='}", b'["eA==",]', b'["eA==', b"\xff\xfe{\0\0"])
def test_a_body_that_is_nearly_json_is_refused_as_such(body):
    with pytest.raises(MalformedRequest, match=r"not valid JSON.*Send \["):
        extract_images_from_body("application/json", body, max_images=1)


def test_the_values_of_pixels_are_refused_with_the_remedy():
    with pytest.raises(PayloadTooLarge, match="not the values of its pixels"):
        extract_images_from_body(
            "application/json", json.dumps([[0.5] * 5000]).encode(), max_images=1
        )


def test_json_takes_no_more_memory_than_the_place_of_a_photograph():
    body = json.dumps(
        [base64.encodebytes(bytes(15_000_000)).decode()]
    ).encode()  # a batch's largest
    tracemalloc.start()
    try:
        extract_images_from_body("application/json", body, max_images=1)
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak_bytes < PLACE_BYTES


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
        ("multipart/form-data", b"no boundary at all", MalformedRequest),
        ("multipart/form-data", b"--\r\n----", MalformedRequest),
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
        extract_images_from_body(content_type, body, max_images=2)


def test_a_json_body_has_no_more_values_than_its_images_need():
    """The decoder would make an object of each of a million values before it counted them."""
    extra = b", ".join(b'"k%d": 1' % number for number in range(4096))
    body = b'{"instances": [{"b64": "eA==", %s}]}'
    assert list(extract_images_from_body("application/json", body % extra, max_images=1)) == [b"x"]
    with pytest.raises(PayloadTooLarge, match="4096 values"):
        extract_images_from_body("application/json", body % (extra + b', "one": 1'), max_images=1)


@given(
    st.sampled_from(["application/json", MULTIPART, "multipart/form-data; boundary=-"]),
    st.binary(max_size=400),
)
def test_any_body_is_either_images_or_refused(content_type, body):
    try:
        images = extract_images_from_body(content_type, body, max_images=3)
    except RequestRefused:
        return
    assert 1 <= len(images) <= 3
    assert all(isinstance(image, bytes) for image in images)
    assert sum(map(len, images)) <= len(body)
