"""The size of an image and what takes the space: layers made here, and one real image."""

from __future__ import annotations

import csv
import gzip
import io
import json
import random
import tarfile
from types import SimpleNamespace

import pytest

from drdeploy.cli.image_sizes import _shorten_instruction
from drdeploy.errors import EngineError
from drdeploy.hosting.images import measure_image_size, write_image_sizes_csv
from drdeploy.hosting.images.layer_cache import LayerCache
from drdeploy.hosting.images.layers import BLOCK_BYTES, LIST_BYTES_MAX, read_layer_tar
from drdeploy.hosting.images.saved_image import read_saved_image
from drdeploy.hosting.images.size_figure import draw_image_sizes
from drdeploy.study.published_study.printed_figures import list_published_image_sizes

SITE = "usr/lib/python3/site-packages"
BASE = {
    "var/lib/dpkg/info/libc6:amd64.list": b"/.\n/lib\n/lib/libc.so.6\n",
    "usr/lib/libc.so.6": 400_000,
    "etc/motd": b"hello",
    "opt/cache/wheel": 300_000,
}
SITE_LAYER = {
    f"{SITE}/Pill_ow-13.0.dist-info/RECORD": b"PIL/a.py,sha256=x,1\nPIL/core.so.1,,\n../../b,,\n",
    f"{SITE}/PIL/a.py": b"a = 1",
    f"{SITE}/PIL/core.so.1": 200_000,
    f"{SITE}/PIL/__pycache__/a.cpython-311.pyc": 20_000,
    f"{SITE}/PIL/unlisted.bin": 1_000,
    f"{SITE}/mine/__init__.py": 5_000,
    "usr/lib/b": 100_000,
    "opt/.wh.cache": b"",
    "etc/motd": b"goodbye",
}


def noise(size):
    """Bytes that no compressor makes smaller."""
    return random.Random(size).randbytes(size)


def tar_of(files):
    """A tar file; a number stands for that many bytes of noise."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in files.items():
            data = noise(content) if isinstance(content, int) else content
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


class FakeEngine:
    """Holds one image and counts how often it was saved."""

    def __init__(self, *layers, instructions=("ADD base", "COPY site")):
        self.saves = 0
        self._digests = [f"sha256:{number:064x}" for number in range(len(layers))]
        names = [f"{digest[7:]}.tar" for digest in self._digests]
        history = [{"created_by": "ENV A=1", "empty_layer": True}]
        history += [{"created_by": instruction} for instruction in instructions]
        documents = {
            "manifest.json": [{"Config": "c.json", "Layers": names}],
            "c.json": {"history": history},
        }
        files = dict(zip(names, layers, strict=True))
        files |= {name: json.dumps(value).encode() for name, value in documents.items()}
        self._archive = tar_of(files)

    def image_config(self, image):
        return {"Id": "sha256:image", "RootFS": {"Layers": self._digests}}

    def save_image(self, image):
        self.saves += 1
        for start in range(0, len(self._archive), 5_000):
            yield self._archive[start : start + 5_000]


@pytest.fixture
def cache(tmp_path):
    return LayerCache(tmp_path / "cache")


@pytest.fixture
def size(cache):
    return measure_image_size(FakeEngine(tar_of(BASE), tar_of(SITE_LAYER)), "any:1", cache=cache)


def test_parts_add_up_to_the_layers_exactly(size):
    parts = size.contents.parts
    assert sum(part.size_bytes for part in parts) == size.size_bytes
    assert sum(part.compressed_bytes for part in parts) == size.compressed_bytes
    assert size.size_bytes == len(tar_of(BASE)) + len(tar_of(SITE_LAYER))


def test_the_compressed_size_of_a_layer_is_that_of_gzip(size):
    measured = [layer.compressed_bytes for layer in size.layers]
    true = [len(gzip.compress(tar_of(files), 6)) for files in (BASE, SITE_LAYER)]
    assert measured == pytest.approx(true, abs=32)  # gzip's own header
    assert size.instructions == ("ADD base", "COPY site")


def test_a_file_belongs_to_the_package_that_lists_it_or_its_source_or_its_folder(size):
    sizes = {(part.kind, part.name): part.size_bytes for part in size.contents.parts}
    roughly = {
        ("debian", "libc6"): 400_000,
        ("python", "pill-ow 13.0"): 200_000 + 20_000 + 1_000 + 100_000,
        ("python", "mine"): 5_000,
        ("hidden", "replaced or removed by a higher layer"): 300_000,
    }
    for owner, expected in roughly.items():
        assert sizes.pop(owner) == pytest.approx(expected, abs=6_000)
    assert all(kind == "other" for kind, _ in sizes)


def test_the_compressed_size_of_one_package_is_right_to_some_blocks(size):
    compressed = {part.name: part.compressed_bytes for part in size.contents.parts}
    assert compressed["libc6"] == pytest.approx(400_000, abs=4 * BLOCK_BYTES)


def test_shared_libraries_are_listed_the_largest_first(size):
    found = [(library.path, library.owner) for library in size.contents.libraries]
    assert found == [("usr/lib/libc.so.6", "libc6"), (f"{SITE}/PIL/core.so.1", "pill-ow 13.0")]


def test_an_opaque_folder_hides_all_that_was_in_it(cache):
    upper = tar_of({"opt/.wh..wh..opq": b"", "opt/new": b"n"})
    size = measure_image_size(FakeEngine(tar_of(BASE), upper), "any:1", cache=cache)
    hidden = [part.size_bytes for part in size.contents.parts if part.kind == "hidden"]
    assert hidden == pytest.approx([300_000], abs=12_000)  # with the end of the tar file


def test_a_layer_that_the_engine_stores_compressed_is_measured_as_it_is(cache):
    pressed = gzip.compress(tar_of(BASE), 1)
    size = measure_image_size(FakeEngine(pressed, instructions=["ADD"]), "any:1", cache=cache)
    assert size.compressed_bytes == len(pressed)
    assert size.size_bytes == len(tar_of(BASE))


def test_a_layer_is_read_from_the_engine_once(cache):
    engine = FakeEngine(tar_of(BASE), tar_of(SITE_LAYER))
    first = measure_image_size(engine, "any:1", cache=cache)
    assert measure_image_size(engine, "any:1", cache=LayerCache(cache.folder)) == first
    assert engine.saves == 1


def test_a_damaged_file_of_the_cache_is_read_anew(cache):
    engine = FakeEngine(tar_of(BASE), tar_of(SITE_LAYER))
    first = measure_image_size(engine, "any:1", cache=cache)
    next(path for path in cache.folder.iterdir() if "0001" in path.name).write_bytes(b"x")
    assert measure_image_size(engine, "any:1", cache=cache) == first
    assert engine.saves == 2


def test_a_cache_that_cannot_be_written_costs_time_alone(tmp_path):
    in_the_way = tmp_path / "file"
    in_the_way.write_text("")
    engine = FakeEngine(tar_of(BASE), tar_of(SITE_LAYER))
    assert measure_image_size(engine, "any:1", cache=LayerCache(in_the_way / "below")).size_bytes


def test_a_layer_in_an_unknown_format_is_refused(cache):
    with pytest.raises(EngineError, match="unknown format"):
        measure_image_size(FakeEngine(noise(4_000), instructions=["ADD"]), "any:1", cache=cache)


def test_an_empty_layer_holds_nothing():
    layer = read_layer_tar(io.BytesIO(tar_of({})))
    assert layer.files == ()
    assert layer.size_bytes == len(tar_of({}))


def test_rows_of_each_level_add_up_and_the_published_images_stand_beside(size, tmp_path):
    write_image_sizes_csv(
        [size], tmp_path / "new" / "sizes.csv", references=list_published_image_sizes()
    )
    with (tmp_path / "new" / "sizes.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))

    def total(level):
        return sum(int(row["compressed_bytes"]) for row in rows if row["level"] == level)

    assert total("image") == total("layer") == total("part") == size.compressed_bytes
    published = [row["compressed_bytes"] for row in rows if row["level"] == "published"]
    assert published == ["1798000000", "924000000", "517000000"]


def test_the_picture_names_our_images_and_the_published_ones(size):
    drawn = draw_image_sizes([size], references=list_published_image_sizes())
    assert drawn.svg == draw_image_sizes([size], references=list_published_image_sizes()).svg
    for text in ("any:1", "baseline, as published", "1798", "pill-ow 13.0"):
        assert text in drawn.svg


@pytest.mark.parametrize(
    ("instruction", "shown"),
    [
        ("/bin/sh -c #(nop) COPY dir:0123456789abcdef in /usr/lib ", "COPY in /usr/lib"),
        ("|1 A=b /bin/sh -c apt-get  update", "RUN apt-get update"),
        ("COPY serve.py /bin/ # buildkit", "COPY serve.py /bin/"),
    ],
)
def test_an_instruction_is_shown_as_in_the_dockerfile(instruction, shown):
    assert _shorten_instruction(instruction) == shown


@pytest.mark.engine
def test_the_packages_of_an_image_that_was_built(engine, lean_image, cache):
    size = measure_image_size(engine, lean_image, cache=cache)
    names = [part.name.partition(" ")[0] for part in size.contents.parts]
    assert {"onnxruntime", "numpy", "drdeploy", "libc6"} <= set(names)
    assert sum(part.size_bytes for part in size.contents.parts) == size.size_bytes > 50e6
    assert size.compressed_bytes < size.size_bytes
    again = measure_image_size(
        SimpleNamespace(image_config=engine.image_config), lean_image, cache=cache
    )
    assert again.contents == size.contents


def sparse_record(holes_bytes):
    """A layer whose list of a package's files is all holes."""
    info = tarfile.TarInfo("site/a-1.dist-info/RECORD")
    info.pax_headers = {"GNU.sparse.map": f"{holes_bytes},0", "GNU.sparse.size": str(holes_bytes)}
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        tar.addfile(info, io.BytesIO())
    return buffer.getvalue()


def test_a_layer_with_a_sparse_file_is_refused_before_its_holes_are_read(tmp_path):
    engine = FakeEngine(tar_of(BASE), sparse_record(50_000_000_000))
    with pytest.raises(EngineError, match="sparse file"):
        measure_image_size(engine, "image", cache=LayerCache(tmp_path))


def test_the_longest_list_of_a_package_is_read_and_a_longer_one_is_not():
    for size, packages in ((LIST_BYTES_MAX, 1), (LIST_BYTES_MAX + 1, 0)):
        record = b"a.py,,\n".ljust(size, b"\n")
        layer = read_layer_tar(io.BytesIO(tar_of({"site/a-1.dist-info/RECORD": record})))
        assert len(layer.packages) == packages


def test_a_document_of_a_saved_image_that_nests_too_deep_is_no_document(tmp_path):
    deep = b"[" * 100_000
    with pytest.raises(EngineError):
        read_saved_image(iter([tar_of({"manifest.json": deep})]), is_known_layer=lambda _: False)
