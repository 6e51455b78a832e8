"""Another master key while the edge runs, safe to be killed at every line.

    1  the new key is written beside the old file (0600)
    2  one transaction: every secret sealed under the new key, and the new key itself, sealed under
       the old one, as a row of its own
    3  the new file takes the old one's place
    4  that row is deleted, and what SQLite's files hold of it: from here on the old key opens
       nothing

Whatever the file holds in between opens the store: the old key by way of the row, or the new one.
So the next start finishes what it finds half done. A file that only its owner can replace (a
credential of systemd's) waits between 2 and 3 for that owner; nothing stops meanwhile."""

import asyncio
import logging
from pathlib import Path

from edge.identity.keys import KeyStore
from edge.identity.master_key import MasterKey, replace_file, replaceable, stage, unstage
from edge.store import StoreUnavailable

log = logging.getLogger("sekisho.keys")

TRACES = (
    "the retired master key still opens the new one out of the database's -wal file: another "
    "program reads the database and keeps it there; end that program, then restart the edge"
)


class RotationRefused(Exception):
    """The master key stays as it is; the sentence says why, and what to do."""


class MasterRotation:
    """Changes the master key of one store, whose file is at `path`."""

    def __init__(self, keys: KeyStore, path: Path) -> None:
        self.keys = keys
        self.path = path
        self.traces = False  # somebody who reads the database keeps the old key's row in its log
        self._turn = asyncio.Lock()

    async def finish(self) -> bool:
        """Bring a rotation that was left half done to its end; False when the file must wait for
        somebody else's hands. Raises OSError or StoreUnavailable, and can be tried again."""
        if self.keys.divided:
            await self.keys.change_master(self.keys.master)
        mine = replaceable(self.path)
        if self.keys.retired is not None:
            if not mine:
                return False
            await asyncio.to_thread(replace_file, self.path, self.keys.master)
        elif mine:
            unstage(self.path)
        self.traces = not await self.keys.forget_retired()
        if self.traces:
            log.warning("%s", TRACES)
        return True

    async def resume(self) -> None:
        """Finish at start; what can't be finished now is said in the journal, and stops nothing."""
        try:
            done = await self.finish()
        except (OSError, StoreUnavailable) as error:
            log.error("the change of the master key waits for the next start: %s", error)
            return
        if not done:
            log.warning(
                "%s holds the retired master key; secrets are sealed under %s: put the new key "
                "file in its place and restart the edge", self.path, self.keys.master.id,
            )

    async def rotate(self, given: MasterKey | None = None) -> MasterKey:
        """Seal every secret under the given key, or a new one, and return it.

        RotationRefused, OSError, StoreUnavailable or KeyRefused: the file is as it was."""
        async with self._turn:
            if given is not None and self.keys.retired and given == self.keys.master:
                return given  # asked again: nobody saw the answer
            if given is None and not replaceable(self.path):
                raise RotationRefused(
                    f"the master key comes from {self.path}, which the edge can't change: name a "
                    f"file for the new key with --key-file"
                )
            if not await self.finish():
                raise RotationRefused(
                    f"secrets are sealed under master key {self.keys.master.id} already, and "
                    f"{self.path} still holds the one before: put the new key file in its place "
                    f"and restart the edge first"
                )
            if given is not None and given.id == self.keys.master.id:
                raise RotationRefused(
                    f"{given.id} is the master key in force: --key-file names a file for a new one"
                )
            master = given or MasterKey.generate()
            if replaceable(self.path):
                await asyncio.to_thread(stage, self.path, master)  # a full disk is found here
            await self.keys.change_master(master)
            await self.finish()
            return master
