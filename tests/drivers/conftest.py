"""What the tests of drivers share: a server that nobody serves, certificates of our own, a simulated Telegram."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from hookline_io.testing import LoopbackTelegram


@pytest.fixture
def server() -> Iterator[socket.socket]:
    """A listening socket. The kernel completes connections to it; nothing reads them until they are accepted."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        sock.settimeout(5)
        yield sock


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    """It vouches for our certificate, and no system trusts it."""
    return trustme.CA()


@pytest.fixture(scope="session")
def certificate(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """The paths of a certificate for loopback and of its key."""
    folder: Path = tmp_path_factory.mktemp("certificate")
    issued = authority.issue_cert("127.0.0.1", "localhost")
    issued.cert_chain_pems[0].write_to_path(folder / "certificate.pem")
    issued.private_key_pem.write_to_path(folder / "key.pem")
    return str(folder / "certificate.pem"), str(folder / "key.pem")


@pytest.fixture
def trusting(authority: trustme.CA) -> ssl.SSLContext:
    """TLS for clients that trust our authority, and no other."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority.configure_trust(context)
    return context


@pytest.fixture
def telegram() -> Iterator[LoopbackTelegram]:
    """A simulated Telegram on loopback."""
    with LoopbackTelegram() as telegram:
        yield telegram
