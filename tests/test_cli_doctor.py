"""`apimaster doctor`: each thing that can be wrong, made wrong for real on this machine."""

from __future__ import annotations

import json
import os
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import forked
import pytest
from ports import reserve_port

from apimaster._transport import proxies
from apimaster.cli import connectivity
from apimaster.cli.app import run
from apimaster.emulator import Emulator

VARIABLES = (
    *("APIMASTER_API_KEY", "APIMASTER_KEY", "APIMASTER_BASE_URL", "SSL_CERT_FILE", "SSL_CERT_DIR"),
    *(f"{name}_PROXY" for name in ("HTTP", "HTTPS", "ALL", "NO")),
)


@pytest.fixture(autouse=True)
def _bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))


@contextmanager
def server(answer: bytes | None = None, context: ssl.SSLContext | None = None) -> Iterator[int]:
    """Something that accepts connections on a port: it says ``answer`` to what it reads, or hangs up at once."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    if context is not None:
                        with suppress(OSError):
                            context.wrap_socket(connection, server_side=True).close()
                    if answer is not None:
                        connection.recv(65536)
                        connection.sendall(answer)

        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1]


@pytest.fixture
def closed_port() -> Iterator[int]:
    with reserve_port() as holder:
        yield holder.getsockname()[1]


def diagnose(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, list[dict[str, Any]]]]:
    """The exit code, and the findings by subject; the text for people must agree with them."""
    code = run(["doctor", "--json", "--timeout", "5", *arguments])
    printed = json.loads(capsys.readouterr().out)
    assert printed["exit_code"] == code
    assert printed["ok"] == (code == 0)
    by_subject: dict[str, list[dict[str, Any]]] = {}
    for finding in printed["findings"]:
        by_subject.setdefault(finding["subject"], []).append(finding)
    return code, by_subject


def only(findings: dict[str, list[dict[str, Any]]], state: str) -> list[str]:
    return [
        f"{each['detail']} {each['advice']}" for all_ in findings.values() for each in all_ if each["state"] == state
    ]


def test_no_key(capsys: pytest.CaptureFixture[str]) -> None:
    with server() as port:
        code, findings = diagnose(capsys, "--base-url", f"http://127.0.0.1:{port}/v1")
    assert code == 3
    assert "There is no API key" in only(findings, "wrong")[0]
    assert findings["connection"][0]["state"] == "right"
    assert "models" not in findings


def test_a_base_url_that_is_none(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APIMASTER_API_KEY", "sk-made-up")
    monkeypatch.setenv("APIMASTER_BASE_URL", "apimaster.ai/v1")
    code, findings = diagnose(capsys)
    assert code == 2
    assert "Accepted: an http or https URL" in only(findings, "wrong")[0]


def test_two_keys_that_differ(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APIMASTER_API_KEY", "sk-one")
    monkeypatch.setenv("APIMASTER_KEY", "sk-two")
    _, findings = diagnose(capsys, "--base-url", "http://a..b/v1")
    printed = json.dumps(findings)
    assert "APIMASTER_API_KEY and APIMASTER_KEY differ" in printed
    assert "sk-one" not in printed
    assert "sk-two" not in printed


@pytest.mark.parametrize(
    ("base_url", "words"),
    [
        ("http://a..b/v1", ["a..b has no address here", "spelling"]),
        ("http://127.0.0.1:{closed}/v1", ["does not answer", "firewall"]),
        ("https://127.0.0.1:{plain}/v1", ["does not speak TLS", "scheme and port"]),
        ("https://127.0.0.1:{hangs_up}/v1", ["TLS"]),
    ],
)
def test_the_step_that_fails_is_named(
    base_url: str,
    words: list[str],
    closed_port: int,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("APIMASTER_KEY", "sk-made-up")
    with server(b"HTTP/1.0 400 Bad Request\r\n\r\n") as plain, server() as hangs_up:
        url = base_url.format(closed=closed_port, plain=plain, hangs_up=hangs_up)
        code, findings = diagnose(capsys, "--base-url", url)
    assert code == 5
    wrong = only(findings, "wrong")
    assert len(wrong) == 1
    for word in words:
        assert word in wrong[0]


@pytest.mark.parametrize(
    ("verify_code", "words"),
    [
        (9, "clock"),  # not yet valid
        (10, "clock"),  # expired
        (18, "SSL_CERT_FILE"),  # self-signed
        (19, "SSL_CERT_FILE"),  # self-signed certificate in the chain
        (20, "SSL_CERT_FILE"),  # unknown issuer
        (62, "another host"),  # host name
        (64, "another host"),  # IP address
        (23, ""),  # revoked
    ],
)
def test_what_to_do_about_a_certificate(verify_code: int, words: str) -> None:
    advice = connectivity.certificate_advice(verify_code)
    assert words in advice
    assert bool(advice) == bool(words)


def test_a_certificate_that_nobody_vouches_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    tool = shutil.which("openssl")
    if tool is None:
        pytest.fail("the openssl command makes the certificate; install it: apt-get install -y openssl")
    files = ["-keyout", str(tmp_path / "key.pem"), "-out", str(tmp_path / "cert.pem")]
    kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-subj", "/CN=localhost"]
    kind += ["-addext", "subjectAltName=DNS:localhost"]
    subprocess.run([tool, "req", "-x509", "-nodes", "-days", "2", *kind, *files], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    monkeypatch.setenv("APIMASTER_KEY", "sk-made-up")
    with server(context=context) as port:
        code, findings = diagnose(capsys, "--base-url", f"https://localhost:{port}/v1")
    assert code == 5
    assert "is not trusted" in only(findings, "wrong")[0]
    assert "SSL_CERT_FILE" in only(findings, "wrong")[0]
    # Where the environment vouches for it, the walk goes on. A process of its own, since TLS contexts are kept.
    with server(context=context) as port:
        words = ["doctor", "--base-url", f"https://localhost:{port}/v1", "--timeout", "5"]
        done = forked.run(
            ["-m", "apimaster.cli", *words], env={**os.environ, "SSL_CERT_FILE": str(tmp_path / "cert.pem")}
        )
    assert "ok  TLS: TLSv1.3, the certificate is trusted" in done.stdout
    assert "WRONG  models: " in done.stdout


def test_certificates_that_are_not_there(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("APIMASTER_KEY", "sk-made-up")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none.pem"))
    code, findings = diagnose(capsys, "--base-url", "https://127.0.0.1/v1")
    assert code == 5
    assert "which does not exist" in only(findings, "wrong")[0]


@pytest.mark.parametrize(
    ("proxy", "words"),
    [
        ("http://user:secret@127.0.0.1:{closed}", "127.0.0.1:{closed} does not answer"),
        ("user:secret@127.0.0.1:{closed}", "127.0.0.1:{closed} does not answer"),
        ("http://user:secret@127.0.0.1:port", "not the URL of a proxy"),
        ("http://", "not the URL of a proxy"),
    ],
)
def test_a_proxy_of_the_environment_is_what_is_tried(
    proxy: str, words: str, closed_port: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("APIMASTER_KEY", "sk-made-up")
    monkeypatch.setenv("HTTP_PROXY", proxy.format(closed=closed_port))
    code, findings = diagnose(capsys, "--base-url", "http://gateway.test/v1")
    assert code == 5
    assert words.format(closed=closed_port) in only(findings, "wrong")[0]
    assert "secret" not in json.dumps(findings)


def test_a_socks_proxy_needs_a_package(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proxies, "supports_socks", lambda: False)
    monkeypatch.setenv("APIMASTER_KEY", "sk-made-up")
    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:1080")
    code, findings = diagnose(capsys, "--base-url", "http://gateway.test/v1")
    assert code == 5
    assert "httpx[socks]" in only(findings, "wrong")[0]


def test_no_proxy_leaves_a_host_out(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APIMASTER_KEY", "")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with server() as port:
        _, findings = diagnose(capsys, "--base-url", f"http://127.0.0.1:{port}/v1")
    assert "proxy" not in findings
    assert findings["connection"][0]["state"] == "right"


def test_all_is_well(
    apimaster_emulator: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("APIMASTER_API_KEY", f' "{apimaster_emulator.api_key}"\n')
    monkeypatch.setenv("APIMASTER_BASE_URL", apimaster_emulator.base_url)
    assert run(["doctor"]) == 0
    printed = capsys.readouterr().out
    assert printed.endswith("All is well.\n")
    assert "WRONG" not in printed
    assert apimaster_emulator.api_key not in printed
    assert len(apimaster_emulator.bill) == 0


def test_a_wrong_key(
    apimaster_emulator: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("APIMASTER_API_KEY", "sk-wrong")
    assert run(["doctor", "--base-url", apimaster_emulator.base_url]) == 3
    printed = capsys.readouterr().out
    assert "WRONG  models: " in printed
    assert printed.endswith("Something is wrong: see above.\n")
    assert "sk-wrong" not in printed


def test_a_gateway_without_the_default_model(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with Emulator(models=["gpt-image-2", "chat-only"]) as emulator:
        monkeypatch.setenv("APIMASTER_API_KEY", emulator.api_key)
        code, findings = diagnose(capsys, "--base-url", emulator.base_url)
    assert code == 0
    assert "It offers: gpt-image-2. Choose one with --model." in only(findings, "odd")[0]


def test_a_key_that_would_travel_in_the_clear(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("APIMASTER_API_KEY", "sk-made-up")
    _, findings = diagnose(capsys, "--base-url", "http://a..b/v1")
    assert "unencrypted" in only(findings, "odd")[0]


def test_a_base_url_without_v1(
    apimaster_emulator: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("APIMASTER_API_KEY", apimaster_emulator.api_key)
    root = apimaster_emulator.base_url.removesuffix("/v1")
    code, findings = diagnose(capsys, "--base-url", f"{root}/v2")
    assert code == 5
    assert f"it may have to be {root}/v2/v1." in only(findings, "odd")[0]
    assert findings["models"][0]["state"] == "wrong"
