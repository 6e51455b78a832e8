"""The one key that isn't in the store: a file, or a credential of systemd's."""

import base64
import contextlib
import os
import secrets
import stat
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

MASTER_NAME = "master.key"
NONCE = 12  # bytes, AES-GCM


class KeyRefused(Exception):
    """A key file or row is missing, damaged, or readable by others. Nothing was changed."""


def b64url(data: bytes) -> str:
    """Return base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unb64url(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


@dataclass(frozen=True, slots=True)
class MasterKey:
    """What seals every secret of the store. Text form: `id: <16 hex>` and a line of base64url."""

    id: str
    key: bytes

    def __repr__(self) -> str:
        return f"MasterKey(id={self.id!r})"

    @classmethod
    def generate(cls) -> "MasterKey":
        return cls(secrets.token_hex(8), secrets.token_bytes(32))

    @classmethod
    def create(cls, path: Path) -> "MasterKey":
        """Write a new key with mode 0600; FileExistsError when there is one already."""
        master = cls.generate()
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        master.write(path)
        return master

    def write(self, path: Path) -> None:
        """Write the key with mode 0600, to last through a power cut; FileExistsError when there is
        a file already. An error leaves none behind."""
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(handle, "w") as file:
                file.write(self.text())
                file.flush()
                os.fsync(file.fileno())
            _sync_folder(path.parent)
        except BaseException:
            path.unlink(missing_ok=True)
            raise

    def text(self) -> str:
        return f"id: {self.id}\n{b64url(self.key)}\n"

    @classmethod
    def parse(cls, text: str) -> "MasterKey":
        """Read the text form; ValueError when it is damaged."""
        lines = text.split()
        if len(lines) != 3 or lines[0] != "id:":
            raise ValueError("three words expected")
        key = unb64url(lines[2])
        if len(key) != 32 or not 1 <= len(lines[1]) <= 32 or not lines[1].isascii():
            raise ValueError("wrong length")
        return cls(lines[1], key)

    @classmethod
    def load(cls, path: Path) -> "MasterKey":
        """Read the key file; KeyRefused when it is missing, damaged, or others may read it."""
        try:
            mode = path.stat().st_mode
            text = path.read_text("ascii")
        except FileNotFoundError:
            raise KeyRefused(
                f"{path}: there is no master key; `sekisho edge init` makes one"
            ) from None
        except (OSError, UnicodeDecodeError) as error:
            raise KeyRefused(f"{path}: {error}") from error
        if mode & (stat.S_IRWXG | stat.S_IRWXO) and not is_credential(path):
            raise KeyRefused(f"{path}: readable by others; chmod 600 it")
        try:
            return cls.parse(text)
        except ValueError as error:
            raise KeyRefused(f"{path}: damaged ({error}); restore it from a backup") from error

    @classmethod
    def find(cls, state_folder: Path, named: Path | None = None) -> "MasterKey":
        """Load the key from where `master_file` says."""
        return cls.load(master_file(state_folder, named))

    def seal(self, name: str, plain: bytes) -> bytes:
        """Encrypt; the name is bound in, so that a row can't be put in another's place."""
        nonce = secrets.token_bytes(NONCE)
        return nonce + AESGCM(self.key).encrypt(nonce, plain, name.encode())

    def unseal(self, name: str, sealed: bytes) -> bytes:
        try:
            return AESGCM(self.key).decrypt(sealed[:NONCE], sealed[NONCE:], name.encode())
        except (InvalidTag, ValueError) as error:
            raise KeyRefused(f"key {name}: can't be decrypted with master key {self.id}") from error


def master_file(state_folder: Path, named: Path | None = None) -> Path:
    """Return where the key lies: the configured file, systemd's credentials, or the state folder,
    in this order."""
    if named is not None:
        return named
    credentials = os.environ.get("CREDENTIALS_DIRECTORY")
    if credentials is not None and (Path(credentials) / MASTER_NAME).exists():
        return Path(credentials) / MASTER_NAME
    return state_folder / "keys" / MASTER_NAME


def is_credential(path: Path) -> bool:
    """Say whether systemd put the file there: it guards it, and only its source can change."""
    credentials = os.environ.get("CREDENTIALS_DIRECTORY")
    return credentials is not None and path.resolve().is_relative_to(Path(credentials).resolve())


def replaceable(path: Path) -> bool:
    """Say whether this process may put another key file in the place of this one."""
    return not is_credential(path) and os.access(path.resolve().parent, os.W_OK)


def replace_file(path: Path, master: MasterKey) -> None:
    """Put the key in the place of the old one: a reader, or a power cut, meets one of the two."""
    fresh = stage(path, master)
    fresh.rename(path.resolve())
    _sync_folder(fresh.parent)


def stage(path: Path, master: MasterKey) -> Path:
    """Write the key beside the old one, and return where."""
    fresh = _beside(path)
    fresh.unlink(missing_ok=True)
    master.write(fresh)
    return fresh


def unstage(path: Path) -> None:
    """Remove what `stage` left when the process ended after it."""
    with contextlib.suppress(OSError):
        _beside(path).unlink()


def _beside(path: Path) -> Path:
    real = path.resolve()
    return real.with_name(real.name + ".new")


def _sync_folder(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
