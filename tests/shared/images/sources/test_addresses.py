from pathlib import Path

import pytest

from shared.images.sources.addresses import AddressProblem, checked, is_address, is_within, name_of, place, shown
from shared.images.sources.choosing import why_not


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("s3://bucket/a photo/é#1?.jpg", "s3://bucket/a photo/é#1?.jpg"),  # an object may have any name
        ("S3://Bucket/x", "s3://Bucket/x"),
        ("HTTPS://Host.example:8443/x.zip", "https://host.example:8443/x.zip"),
        ("hf://datasets/owner/name@main/data", "hf://datasets/owner/name@main/data"),
        ("http://[::1]:8080/x.zip", "http://[::1]:8080/x.zip"),
        ("https://[2001:DB8:0:0::1]/x.zip", "https://[2001:db8::1]/x.zip"),
    ],
)
def test_the_usual_form_of_an_address(given: str, kept: str) -> None:
    assert is_address(given)
    assert checked(given) == kept


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ("ftp://host/a", "is of a kind that is not read: use s3, gs, az, hf, https or http"),
        ("https://ann:secret@host/a.zip", "contains a user or password"),
        ("s3://key:secret@bucket/a", "contains a user or password"),
        ("https://host/a.zip?X-Amz-Signature=secret", "contains a query, which may be a password"),
        ("https://host/a/%2e%2e/b.zip", "contains .. or a backslash"),
        ("s3://bucket/a/../b", "contains .. or a backslash"),
        ("s3:///a", "names no bucket"),
        ("simplecache::s3://bucket/a", "is a chain of addresses"),
        ("http://[1/a", "is not an address"),
        ("http://[::1]/a::b.zip", "is a chain of addresses"),
        ("http://[fe80::1%25eth0]/a.zip", "names a network interface after a %"),
        ("http://[v1.x]/a.zip", "is not an address"),
        ("http://host:99999/a", "is not an address"),
        ("https://host/a/%252e%252e/b.zip", "contains .. or a backslash"),
        ("https://host/a/.\n./b.zip", "contains a character that cannot be printed"),
        ("https://a\n.example/b.zip", "contains a character that cannot be printed"),
    ],
)
def test_an_invalid_address_is_refused_with_a_reason(given: str, reason: str) -> None:
    with pytest.raises(AddressProblem, match=reason) as caught:
        checked(given)
    assert "secret" not in str(caught.value)


def test_places_of_this_machine() -> None:
    assert place("photos") == Path("photos")
    assert place("file:///a/b") == place("zip:///a/b") == Path("/a/b")
    assert not is_address("C:\\photos")


def test_which_address_contains_which() -> None:
    assert is_within("s3://b/a/c", ["s3://b/a"])
    assert is_within("s3://b/a", ["s3://b/a"])
    assert is_within("s3://b/a/c", ["s3://b/a/"])
    assert not is_within("s3://b/ac", ["s3://b/a"])
    assert not is_within("https://host.evil/a", ["https://host"])
    assert not is_within("s3://b/a", [])


def test_a_secret_is_not_shown_even_where_it_should_not_be() -> None:
    assert shown("https://ann:secret@host/a?token=secret") == "https://host/a"
    assert shown("s3://bucket/a?b") == "s3://bucket/a?b"


def test_names_of_places(tmp_path: Path) -> None:
    (tmp_path / "photos.v2").mkdir()
    assert name_of(tmp_path / "photos.v2") == "photos.v2"
    assert name_of(tmp_path / "clothes.zip") == "clothes"
    assert name_of("s3://bucket/shards/train-*.tar") == "train"
    assert name_of("s3://bucket/shards/*.tar") == "shards"
    assert name_of("s3://bucket") == "bucket"


def test_why_images_cannot_come_from_a_place(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("")
    (tmp_path / "a.zip").write_text("")
    assert why_not(tmp_path) is None
    assert why_not(tmp_path / "a.zip") is None
    assert why_not(tmp_path / "b.zip") == "there is no such file"
    assert why_not(tmp_path / "nowhere") == "there is no such folder"
    assert "nor a file that contains images" in (why_not(tmp_path / "notes.txt") or "")
    assert why_not("s3://bucket") is None
