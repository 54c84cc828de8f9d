"""The file of an endpoint's secrets: who may read it, what a rotation leaves in it, and what it never overwrites."""

from __future__ import annotations

import json
import os
import stat
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from apimaster.errors import BadRequestError
from apimaster.webhooks import WebhookVerificationError, parse_webhook, read_secrets, sign
from apimaster.webhooks.secrets import NewSecret, SecretFile

NOW = 1_790_000_000.0
CREATED = NewSecret("whep_1", "k1", "whsec-1", url="https://example.com/hooks")
ROTATED = NewSecret("whep_1", "k2", "whsec-2", rotated=True, previous_key_id="k1", previous_valid_until=NOW + 86400)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "secrets.json"


def test_a_new_endpoint_then_a_rotation(path: Path) -> None:
    file = SecretFile(path)
    file.prepare(None)
    assert not path.exists()
    file.save(CREATED)
    assert read_secrets(path, now=NOW) == {"k1": "whsec-1"}
    file.prepare("whep_1")
    file.save(ROTATED)
    assert json.loads(path.read_text(encoding="utf-8")) == {
        "endpoint_id": "whep_1",
        "url": "https://example.com/hooks",
        "secrets": {"k1": {"secret": "whsec-1", "valid_until": NOW + 86400}, "k2": {"secret": "whsec-2"}},
    }
    assert read_secrets(path, now=NOW + 86400) == {"k1": "whsec-1", "k2": "whsec-2"}
    assert read_secrets(path, now=NOW + 86400 + 301) == {"k2": "whsec-2"}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [each.name for each in path.parent.iterdir()] == ["secrets.json"]
    body = b'{"id": "evt_1", "type": "task.failed"}'
    for key_id, secret in (("k1", "whsec-1"), ("k2", "whsec-2")):
        headers = sign(body, secret, timestamp=int(NOW), key_id=key_id)
        assert parse_webhook(body, headers, read_secrets(path, now=NOW), now=NOW).id == "evt_1"


def test_a_rotation_that_names_no_previous_key_ends_all_earlier_ones(path: Path) -> None:
    SecretFile(path).save(CREATED)
    SecretFile(path).save(NewSecret("whep_1", "k2", "whsec-2", rotated=True, previous_valid_until=NOW))
    assert list(read_secrets(path, now=NOW)) == ["k1", "k2"]
    SecretFile(path).save(NewSecret("whep_1", "k3", "whsec-3", rotated=True, previous_valid_until=NOW + 500))
    assert list(read_secrets(path, now=NOW + 400)) == ["k2", "k3"]


BODY = b'{"id": "evt_1", "type": "task.failed"}'
DAY = 86400.0


@pytest.mark.parametrize(
    "key_ids", [("", "k2", "k3"), ("", "", ""), ("k1", "", "k3"), ("k1", "k2", ""), ("", "k2", "")]
)
@pytest.mark.parametrize("previous", [None, "k1", "another"])
@pytest.mark.parametrize("ends", [True, False])
def test_after_a_rotation_every_other_secret_has_an_end(
    path: Path, key_ids: tuple[str, ...], previous: str | None, ends: bool
) -> None:
    """Whatever key ids the gateway names in its replies, and whatever it signs its deliveries with."""
    begun = time.time()
    SecretFile(path).save(NewSecret("whep_1", key_ids[0], "whsec-1"))
    for number in (2, 3):
        until = begun + DAY if ends else None
        SecretFile(path).save(
            NewSecret(
                *("whep_1", key_ids[number - 1], f"whsec-{number}"),
                rotated=True,
                previous_key_id=previous,
                previous_valid_until=until,
            )
        )
    within, after = begun + DAY - 60, time.time() + DAY + 600
    assert sorted(read_secrets(path, now=within).values()) == ["whsec-1", "whsec-2", "whsec-3"]
    assert list(read_secrets(path, now=after).values()) == ["whsec-3"]
    for number, key_id in enumerate(key_ids, 1):
        for signed_as in {key_id, key_id or "kx"}:
            headers = sign(BODY, f"whsec-{number}", timestamp=int(within), key_id=signed_as)
            assert parse_webhook(BODY, headers, read_secrets(path, now=within), now=within).id == "evt_1"
            late = sign(BODY, f"whsec-{number}", timestamp=int(after), key_id=signed_as)
            if number == 3:
                assert parse_webhook(BODY, late, read_secrets(path, now=after), now=after).id == "evt_1"
            else:
                with pytest.raises(WebhookVerificationError):
                    parse_webhook(BODY, late, read_secrets(path, now=after), now=after)


def test_the_same_secret_again_is_no_second_one(path: Path) -> None:
    for rotated in (False, True):
        SecretFile(path).save(NewSecret("whep_1", "", "whsec-1", rotated=rotated))
    assert read_secrets(path) == {"": "whsec-1"}


def test_a_rotation_into_a_new_file(path: Path) -> None:
    SecretFile(path).prepare("whep_1")
    SecretFile(path).save(ROTATED)
    assert read_secrets(path) == {"k2": "whsec-2"}


def test_rotations_at_the_same_moment_lose_no_secret(path: Path) -> None:
    SecretFile(path).save(CREATED)

    def rotate(number: int) -> None:
        previous = f"k{number - 1}"
        SecretFile(path).save(
            NewSecret("whep_1", f"k{number}", f"whsec-{number}", rotated=True, previous_key_id=previous)
        )

    threads = [threading.Thread(target=rotate, args=(number,)) for number in range(2, 18)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(read_secrets(path)) == 17


OF_ANOTHER = {"endpoint_id": "whep_9", "secrets": {"k9": {"secret": "whsec-9"}}}


@pytest.mark.parametrize("content", [json.dumps(OF_ANOTHER), '{"k9": "whsec-9"}', "whsec-9\n", "not for us at all"])
@pytest.mark.parametrize("new", [CREATED, ROTATED], ids=["created", "rotated"])
def test_no_other_secret_is_overwritten(path: Path, content: str, new: NewSecret) -> None:
    path.write_text(content, encoding="utf-8")
    for step in (
        lambda: SecretFile(path).prepare("whep_1" if new.rotated else None),
        lambda: SecretFile(path).save(new),
    ):
        with pytest.raises(BadRequestError) as caught:
            step()
        assert "whsec" not in str(caught.value)
    assert path.read_text(encoding="utf-8") == content


def test_a_new_endpoint_does_not_overwrite_its_own_kind(path: Path) -> None:
    SecretFile(path).save(CREATED)
    with pytest.raises(BadRequestError, match="holds webhook secrets of the endpoint whep_1"):
        SecretFile(path).prepare(None)


def test_an_empty_file_is_free(path: Path) -> None:
    path.touch(mode=0o644)
    SecretFile(path).prepare(None)
    SecretFile(path).save(CREATED)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_link_stays_a_link(path: Path, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    path.symlink_to(tmp_path / "real" / "file.json")
    SecretFile(path).save(CREATED)
    assert path.is_symlink()
    assert read_secrets(path) == {"k1": "whsec-1"}


@pytest.mark.parametrize("place", ["", "  ", "a\0b", None, 7, b"secrets.json"])
def test_no_place(place: Any) -> None:
    with pytest.raises(BadRequestError, match="must be the path of a file"):
        SecretFile(place)
    with pytest.raises(BadRequestError, match="must be the path of a file"):
        read_secrets(place)


@pytest.mark.parametrize("place", ["no/such/folder/file.json", ".", "secrets.json/below", "x" * 300])
def test_a_place_that_can_not_be_written(tmp_path: Path, place: str) -> None:
    (tmp_path / "secrets.json").write_text("", encoding="utf-8")
    with pytest.raises(BadRequestError, match=r"can't be (saved|read)"):
        SecretFile(tmp_path / place).prepare(None)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["secrets.json"]


def test_a_full_disk_leaves_nothing_behind(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    SecretFile(path).save(CREATED)
    before = path.read_bytes()
    monkeypatch.setattr(os, "fsync", lambda descriptor: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OSError, match="No space"):
        SecretFile(path).save(ROTATED)
    assert path.read_bytes() == before
    assert [each.name for each in path.parent.iterdir()] == ["secrets.json"]


@pytest.mark.parametrize(
    ("content", "secrets"),
    [
        ('{"k1": "whsec-1", "k2": " whsec-2\\n"}', {"k1": "whsec-1", "k2": "whsec-2"}),
        ('{"k1": {"secret": "whsec-1"}}', {"k1": "whsec-1"}),
        ('\ufeff{"k1": "whsec-1"}', {"k1": "whsec-1"}),
        ("whsec-1\r\n", {"": "whsec-1"}),
        ('{"endpoint_id": 5, "secrets": {"k1": "whsec-1"}, "more": []}', {"k1": "whsec-1"}),
    ],
)
def test_files_that_people_write(path: Path, content: str, secrets: dict[str, str]) -> None:
    path.write_text(content, encoding="utf-8")
    assert read_secrets(path) == secrets


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b" \n", b"{}", b"[]", b'["whsec-1"]', b'{"k1": ""}', b'{"k1": 5}', b'{"k1": null}', b'{"secrets": []}'),
        *(b'{"k1": "whsec-1"', b'{"k1": {"secret": "whsec-1", "valid_until": "soon"}}', b"whsec-1\nwhsec-2"),
        *(b'{"k1": {"secret": "whsec-1", "valid_until": true}}', b"\xff\xfe\x00", b"two words whsec-1"),
        *(b"whsec-1" * 20_000, b"[" * 60_000, b'{"secrets": {"k1": {"secret": "whsec-1", "valid_until": 5}}}'),
    ],
)
def test_files_without_a_valid_secret(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(BadRequestError) as caught:
        read_secrets(path)
    assert "whsec" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_no_file(path: Path, tmp_path: Path) -> None:
    with pytest.raises(BadRequestError, match="there is no file"):
        read_secrets(path)
    with pytest.raises(BadRequestError, match="can't be read"):
        read_secrets(tmp_path)


def test_no_repr_shows_a_secret(path: Path) -> None:
    assert "whsec" not in repr(CREATED)
    file = SecretFile(path)
    file.save(CREATED)
    assert "whsec" not in repr(file._mine("whep_1"))
