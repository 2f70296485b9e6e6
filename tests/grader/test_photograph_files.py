"""One rule says which files of a folder are photographs, and nothing is left out silently."""

import errno
import os
import socket
from pathlib import Path

import pytest
from image_files import encoded, gradient

from drdeploy.errors import PayloadTooLarge
from drdeploy.grader.fundus.limits import ImageLimits
from drdeploy.grader.photograph_files import (
    LeftOut,
    find_content_type_of_photograph,
    is_dicom_file,
    read_photograph_bytes,
    search_folder_for_photographs,
    write_sentences_on_left_out_files,
)

JPEG = encoded(gradient(), "JPEG")


def write(folder, *names, content=JPEG):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def photographs(folder):
    return [
        path.relative_to(folder).as_posix()
        for path in search_folder_for_photographs(folder).photographs
    ]


def causes(folder):
    return {
        one.path.relative_to(folder).as_posix(): (one.cause, one.detail)
        for one in search_folder_for_photographs(folder).left_out
    }


def test_a_photograph_is_known_by_its_content_or_its_suffix(tmp_path):
    write(tmp_path, "a.JPG", "b.jfif", "c.jpe", "d", "e.bak", "sub/deeper/f.dat")
    write(tmp_path, "g.png", content=b"damaged")
    write(tmp_path, "h.bin", content=encoded(gradient(), "TIFF"))
    assert photographs(tmp_path) == [
        *("a.JPG", "b.jfif", "c.jpe", "d", "e.bak", "g.png", "h.bin", "sub/deeper/f.dat"),
    ]
    assert causes(tmp_path) == {}


@pytest.mark.parametrize(
    ("name", "content", "cause"),
    [
        ("a.heic", b"", ("picture", "HEIC")),
        ("renamed", b"\0\0\0\x18ftypheic", ("picture", "HEIC")),
        ("a.bmp", encoded(gradient(), "BMP"), ("picture", "BMP")),
        ("a.webp", encoded(gradient(), "WEBP"), ("picture", "WebP")),
        ("a.gif", encoded(gradient(), "GIF"), ("picture", "GIF")),
        ("IM0001", bytes(128) + b"DICM", ("picture", "DICOM")),
        ("a.nef", encoded(gradient(), "TIFF"), ("picture", "camera raw")),
        ("a.iiq", encoded(gradient(), "TIFF"), ("picture", "camera raw")),
        ("a.tga", b"", ("picture", "TGA")),
        ("scan.e2e", b"CMDb", ("picture", "Heidelberg (E2E)")),
        ("scan", b"FOCT", ("picture", "Topcon (FDA)")),
        ("eyes.zip", b"PK\3\4", ("archive", ".zip")),
        ("eyes.tar.gz", b"\x1f\x8b", ("archive", ".gz")),
        (".a.jpg.icloud", b"bplist00", ("closed", "it must first be downloaded from iCloud")),
        ("report.pdf", b"%PDF-1.7", ("other", ".pdf")),
        ("table.csv", b"BMI;age", ("other", ".csv")),
        ("Doe.of_a_patient", b"text", ("other", "")),
        ("._a.jpg", JPEG, ("hidden", "")),
        (".DS_Store", b"", ("hidden", "")),
        ("THUMBS.DB", b"", ("system", "THUMBS.DB")),
    ],
)
def test_everything_else_is_left_out_with_its_cause(tmp_path, name, content, cause):
    write(tmp_path, name, content=content)
    assert photographs(tmp_path) == []
    assert causes(tmp_path) == {name: cause}


@pytest.mark.parametrize("name", [".Trash-1000", ".thumbnails", "__MACOSX", "@eaDir", "lost+found"])
def test_hidden_and_system_folders_are_not_searched_unless_they_are_named(tmp_path, name):
    write(tmp_path, "a.jpg", f"{name}/files/b.jpg")
    assert photographs(tmp_path) == ["a.jpg"]
    assert list(causes(tmp_path)) == [name]
    assert photographs(tmp_path / name) == ["files/b.jpg"]


def test_linked_folders_are_searched_and_each_folder_once(tmp_path):
    write(tmp_path / "elsewhere", "z.jpg")
    folder = tmp_path / "eyes"
    write(folder, "a/x.jpg")
    (folder / "0-link").symlink_to("a")
    (folder / "link").symlink_to(tmp_path / "elsewhere")
    (folder / "a" / "circle").symlink_to(folder)
    (folder / "a" / "above").symlink_to(tmp_path)
    (folder / "nowhere").symlink_to("gone")
    (folder / "nowhere.jpg").symlink_to("gone")
    (folder / "self").symlink_to("self")
    assert photographs(folder) == ["a/x.jpg", "link/z.jpg", "nowhere.jpg"]
    assert causes(folder) == {
        "0-link": ("linked", ""),
        "a/circle": ("linked", ""),
        "a/above": ("linked", ""),
        "nowhere": ("broken", ""),
        "self": ("closed", os.strerror(errno.ELOOP)),
    }


def test_a_folder_to_which_two_links_lead_is_searched_once(tmp_path):
    write(tmp_path / "elsewhere", "x.jpg", "inner/y.jpg")
    folder = tmp_path / "eyes"
    folder.mkdir()
    (folder / "a").symlink_to(tmp_path / "elsewhere" / "inner")
    (folder / "b").symlink_to(tmp_path / "elsewhere")
    assert photographs(folder) == ["a/y.jpg", "b/x.jpg"]
    assert causes(folder) == {"b/inner": ("linked", "")}


def test_a_folder_that_cannot_be_opened_is_counted(tmp_path, monkeypatch):
    write(tmp_path, "a.jpg", "closed/b.jpg")
    scan = os.scandir

    def refuse(path):
        if path.name == "closed":  # no folder is closed to root
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert photographs(tmp_path) == ["a.jpg"]
    assert causes(tmp_path) == {"closed": ("closed", "Permission denied")}


def test_a_pipe_is_not_opened(tmp_path):
    os.mkfifo(tmp_path / "a.jpg")
    assert photographs(tmp_path) == []
    assert causes(tmp_path) == {"a.jpg": ("special", "")}


def test_names_that_are_not_utf_8_are_found(tmp_path):
    write(tmp_path, os.fsdecode(b"M\xfcller.jpg"), "a\x1b[8m.jpg", "e\u0301.jpg")
    assert len(photographs(tmp_path)) == 3


def test_a_sentence_counts_each_kind(tmp_path):
    left_out = [LeftOut(tmp_path / f"{n}.heic", "picture", "HEIC") for n in range(5)]
    left_out += [LeftOut(tmp_path / "a.gif", "picture", "GIF"), LeftOut(tmp_path, "linked")]
    left_out += [LeftOut(tmp_path / "b.txt", "other", ".txt"), LeftOut(tmp_path, "other", ".csv")]
    left_out += [LeftOut(tmp_path / "b.zip", "archive", ".zip")]
    assert write_sentences_on_left_out_files(left_out) == [
        "1 archive is left out: .zip; unpack it if it holds photographs",
        "1 linked folder that leads to a folder which is searched anyway is left out",
        "2 files that are no picture are left out: .csv, .txt",
        "1 file is left out, in the format GIF: convert it to JPEG, PNG or TIFF",
        "5 files are left out, in the format HEIC: convert them to JPEG, PNG or TIFF",
    ]
    shown = write_sentences_on_left_out_files(left_out, show_paths=True)[-1]
    assert shown.endswith(f"({tmp_path}/0.heic, {tmp_path}/1.heic, {tmp_path}/2.heic and 2 more)")


def test_what_is_no_file_is_refused_without_waiting(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "folder.jpg").mkdir()
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "socket.jpg"))
    reasons = {
        tmp_path / "pipe.jpg": "A pipe cannot be read as a file",
        tmp_path / "socket.jpg": "A socket cannot be read as a file",
        Path("/dev/zero"): "A device cannot be read as a file",
        tmp_path / "folder.jpg": "Is a directory",
    }
    for path, reason in reasons.items():
        with pytest.raises(OSError, match=reason):
            read_photograph_bytes(path)
        assert not is_dicom_file(path)


def test_a_file_that_is_larger_than_any_photograph_is_refused(monkeypatch, tmp_path):
    limits = ImageLimits(max_bytes=100)
    monkeypatch.setattr("drdeploy.grader.photograph_files.LOCAL_FILE_LIMITS", limits)
    (tmp_path / "a.jpg").write_bytes(bytes(101))
    with pytest.raises(PayloadTooLarge):
        read_photograph_bytes(tmp_path / "a.jpg")


@pytest.mark.parametrize(
    ("image_format", "kind"),
    [("JPEG", "image/jpeg"), ("PNG", "image/png"), ("TIFF", "image/tiff"), ("BMP", "")],
)
def test_a_content_type_follows_the_content(image_format, kind):
    assert find_content_type_of_photograph(encoded(gradient(), image_format)) == kind


def test_dicom_files_are_photographs_for_those_who_read_them(tmp_path):
    write(tmp_path, "IM0001", "DICOMDIR", content=bytes(128) + b"DICM")
    write(tmp_path, "eye.dcm", content=b"not DICOM, as its reader says")
    found = search_folder_for_photographs(tmp_path, with_dicom=True)
    assert [path.name for path in found.photographs] == ["IM0001", "eye.dcm"]
    assert causes(tmp_path)["DICOMDIR"] == ("system", "DICOMDIR")
    assert causes(tmp_path)["IM0001"] == ("picture", "DICOM")
