"""Who may do what on the servers of the soak, with files that change while everything runs."""

from __future__ import annotations

import itertools
from pathlib import Path

from tests.micro.certificates import write_certificates

from micro import options
from micro._connection.settings import ConnectOption

CONFIG = """
server_name: n{cluster}
http: "127.0.0.1:{monitor}"
lame_duck_grace_period: "1s"
lame_duck_duration: "30s"
cluster {{ name: soak, listen: "127.0.0.1:{cluster}", routes: [{routes}] }}
tls {{
  ca_file: "{folder}/ca.pem", cert_file: "{folder}/both.pem", key_file: "{folder}/both.key"
  verify: true, timeout: 5
}}
allow_non_tls: true # odd messages come without
no_auth_user: odd
websocket {{
  listen: "127.0.0.1:{websocket}", compression: true
  tls {{ cert_file: "{folder}/both.pem", key_file: "{folder}/both.key" }}
}}
authorization {{ users: [
  {{ user: service, password: {password}, permissions: {{ publish: ">"
     subscribe: {{ allow: [">", "> q"], deny: [{denied}] }} }} }}
  {{ user: caller, password: caller }}
  {{ user: odd, password: odd }}
] }}
"""


class Access:
    """The certificates, the password of the instances, and the subjects they may not serve."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.denied: list[str] = []
        self.password = ""
        self._numbers = itertools.count(1)
        self._authorities = [b"", b""]
        self.change_password()
        self.renew_certificates()

    def config(self, *, cluster: int, monitor: int, websocket: int, routes: str) -> str:
        """Return the configuration of a server as it has to be now."""
        return CONFIG.format(
            cluster=cluster,
            monitor=monitor,
            websocket=websocket,
            routes=routes,
            folder=self.folder,
            password=self.password,
            denied=", ".join(f'"{subject}"' for subject in self.denied),
        )

    def caller(self) -> list[ConnectOption]:
        """Return how the caller, which keeps its password, connects."""
        return [self._tls(), options.user_password("caller", "caller")]

    def change_password(self) -> None:
        """Write another password into the file that the instances read."""
        self.password = f"password-{next(self._numbers)}"
        (self.folder / "password").write_text(self.password + "\n")

    def renew_certificates(self) -> None:
        """Sign certificates by a new authority; after the next renewal it is the old one."""
        fresh = self.folder / f"authority-{next(self._numbers)}"
        fresh.mkdir()
        write_certificates(fresh)
        self._authorities = [self._authorities[1], (fresh / "ca.pem").read_bytes()]
        (self.folder / "ca.pem").write_bytes(b"".join(self._authorities))
        for name in ("both.pem", "both.key"):
            (self.folder / name).write_bytes((fresh / name).read_bytes())

    def _tls(self) -> ConnectOption:
        return options.tls(
            ca=self.folder / "ca.pem",
            cert=self.folder / "both.pem",
            key=self.folder / "both.key",
        )
