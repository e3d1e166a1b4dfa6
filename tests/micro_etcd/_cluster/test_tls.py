"""P15: TLS with an authority of one's own, and mutual TLS."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.micro_etcd.certificates import Authority
from tests.micro_etcd.guarded import ROOT, ctl
from tests.micro_etcd.versions import Binaries, every_version

from micro_etcd import EtcdClient, EtcdTLS, EtcdUnavailableError, HostPortPair
from micro_etcd.testing import EtcdServer, free_port


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "ours")


@pytest.fixture
def tls_server(binaries: Binaries, authority: Authority) -> Iterator[EtcdServer]:
    with EtcdServer(binaries.etcd, tls=(*authority.issue("server"), None)) as server:
        yield server


@pytest.fixture
def mutual_server(binaries: Binaries, authority: Authority) -> Iterator[EtcdServer]:
    with EtcdServer(binaries.etcd, tls=(*authority.issue("server"), authority.path)) as server:
        yield server


@every_version
async def test_private_authority(tls_server: EtcdServer, authority: Authority) -> None:
    tls = EtcdTLS(ca=authority.path)
    async with EtcdClient(tls_server.address, secure=tls).connect() as communicator:
        await communicator.put("k", "v")
        async with communicator.watch("k") as watch:
            await communicator.put("k", "w")
            assert (await anext(watch)).value == "w"


async def test_authority_as_bytes_and_expected_name(
    tls_server: EtcdServer, authority: Authority
) -> None:
    tls = EtcdTLS(ca=authority.path.read_bytes(), server_name="127.0.0.1")
    async with EtcdClient(tls_server.address, secure=tls).connect() as communicator:
        assert await communicator.get("none") is None


@pytest.mark.parametrize("secure", [True, False, "other authority"])
async def test_unknown_authority_or_no_tls_is_refused(
    tls_server: EtcdServer, tmp_path: Path, secure: bool | str
) -> None:
    tls: bool | EtcdTLS = (
        EtcdTLS(ca=Authority(tmp_path / "theirs").path) if isinstance(secure, str) else secure
    )
    with pytest.raises(EtcdUnavailableError):
        async with EtcdClient(tls_server.address, secure=tls, timeout=1).connect() as communicator:
            await communicator.get("k")


@every_version
async def test_mutual_tls(mutual_server: EtcdServer, authority: Authority) -> None:
    cert, key = authority.issue("client")
    tls = EtcdTLS(ca=authority.path, cert=cert, key=key)
    async with EtcdClient(mutual_server.address, secure=tls).connect() as communicator:
        await communicator.put("k", "v")
        assert await communicator.get("k") == "v"
    with pytest.raises(EtcdUnavailableError):
        async with EtcdClient(
            mutual_server.address, secure=EtcdTLS(ca=authority.path), timeout=1
        ).connect() as communicator:
            await communicator.get("k")


def test_missing_file_is_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        EtcdClient("127.0.0.1", secure=EtcdTLS(ca=tmp_path / "none.pem"))


def test_key_is_not_in_the_repr() -> None:
    assert "private" not in repr(EtcdTLS(key=b"private"))


@pytest.mark.parametrize("by", ["the same connection", "a new connection of the same client"])
@every_version
async def test_certificates_renewed_on_disk_are_read(
    by: str, binaries: Binaries, authority: Authority
) -> None:
    cert, key = authority.issue("client", seconds=4)
    certificate, private = authority.issue("server")
    with EtcdServer(binaries.etcd, tls=(certificate, private, authority.path)) as server:
        client = EtcdClient(server.address, secure=EtcdTLS(ca=authority.path, cert=cert, key=key))
        async with client.connect() as communicator:
            await communicator.put("k", "v")
            authority.issue("client")
            await asyncio.sleep(5)  # until the first certificate has expired
            await asyncio.to_thread(server.stop)
            await asyncio.to_thread(server.start)
            if by == "the same connection":
                assert await communicator.get("k") == "v"
        if by != "the same connection":
            async with client.connect() as communicator:
                assert await communicator.get("k") == "v"


async def test_a_certificate_that_is_missing_for_a_moment_changes_nothing(
    binaries: Binaries, authority: Authority
) -> None:
    cert, key = authority.issue("client")
    certificate, private = authority.issue("server")
    with EtcdServer(binaries.etcd, tls=(certificate, private, authority.path)) as server:
        client = EtcdClient(server.address, secure=EtcdTLS(ca=authority.path, cert=cert, key=key))
        async with client.connect() as communicator:
            await communicator.put("k", "v")
            cert.unlink()
            await asyncio.to_thread(server.stop)
            await asyncio.to_thread(server.start)

            assert await communicator.get("k") == "v"


@pytest.mark.parametrize(
    ("trusted", "name", "reason"),
    [
        ("other", None, "CERTIFICATE_VERIFY_FAILED"),
        ("own", "etcd.example", "Hostname Verification Check failed"),
        ("none", None, "Socket closed"),
        ("mutual", None, "SSLV3_ALERT_BAD_CERTIFICATE"),
    ],
)
async def test_errors_say_why_tls_failed(
    trusted: str,
    name: str | None,
    reason: str,
    binaries: Binaries,
    authority: Authority,
    tmp_path: Path,
) -> None:
    certificate, private = authority.issue("server")
    clients = authority.path if trusted == "mutual" else None
    other = Authority(tmp_path / "other")
    ca = (other if trusted == "other" else authority).path
    secure = False if trusted == "none" else EtcdTLS(ca=ca, server_name=name)
    with (
        EtcdServer(binaries.etcd, tls=(certificate, private, clients)) as server,
        pytest.raises(EtcdUnavailableError, match=reason) as error,
    ):
        async with EtcdClient(server.address, secure=secure, timeout=1.5).connect():
            pass

    assert f"cannot connect to {server.address}: " in str(error.value)


async def test_errors_say_that_nothing_listens() -> None:
    address = HostPortPair("127.0.0.1", free_port())

    with pytest.raises(EtcdUnavailableError) as error:
        async with EtcdClient(address, timeout=0.5).connect():
            pass

    assert str(error.value) == (
        f"no answer from {address}: cannot connect to {address}: "
        "Failed to connect to remote host: Connection refused"
    )


@every_version
async def test_credentials_count_when_authentication_is_enabled_behind_mutual_tls(
    binaries: Binaries, authority: Authority
) -> None:
    """Until it has a token, the server takes a caller for the user that its certificate names."""
    cert, key = authority.issue("client")
    tls = [f"--cacert={authority.path}", f"--cert={cert}", f"--key={key}"]
    certificate, private = authority.issue("server")
    with EtcdServer(binaries.etcd, tls=(certificate, private, authority.path)) as server:
        for command in (
            ["user", "add", "root:secret"],
            ["role", "add", "root"],
            ["user", "grant-role", "root", "root"],
        ):
            ctl(binaries, server, *tls, *command)
        secure = EtcdTLS(ca=authority.path, cert=cert, key=key)
        async with EtcdClient(server.address, ROOT, secure).connect() as client:
            await client.put("k", "1")
            ctl(binaries, server, *tls, "auth", "enable")
            await client.put("k", "2")
            assert await client.get("k") == "2"
