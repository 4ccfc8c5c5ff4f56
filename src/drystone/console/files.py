"""The built console: every file that there is, read once; what is not in the table does not exist."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from drystone.domain.errors import DrystoneError

INDEX: Final = "index.html"
ASSETS: Final = "assets/"
"""Names under it carry a hash of their content."""
FILES_MAX: Final = 2000
BYTES_MAX: Final = 64 << 20
_GZIP: Final = ".gz"
_TYPES: Final[Mapping[str, str]] = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".ico": "image/x-icon",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".map": "application/json",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
    ".webmanifest": "application/manifest+json",
    ".woff": "font/woff",
    ".woff2": "font/woff2",
}
_OTHER: Final = "application/octet-stream"
_NOT_BUILT: Final = b"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Drystone</title></head>
<body><h1>The console is not built</h1>
<p>The API is served. To build the console run <code>./dev console</code>, then start the server again.</p>
</body></html>
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """One file as it is sent."""

    body: bytes
    gzipped: bytes | None
    content_type: str
    cache_control: str


NOT_BUILT: Final = File(body=_NOT_BUILT, gzipped=None, content_type=_TYPES[".html"], cache_control="no-store")


class Files:
    """The files by their path below `/console/`. Made by `load`.

    Args:
        table: Path, with slashes, to file.
    """

    def __init__(self, table: Mapping[str, File]) -> None:
        self._table = dict(table)

    @property
    def built(self) -> bool:
        """Whether there is a console at all."""
        return INDEX in self._table

    @classmethod
    def load(cls, directory: Path) -> "Files":
        """Read every regular file below a directory; a directory that is not there has none.

        A file whose name ends in `.gz` beside one without is its compressed form.

        Raises:
            DrystoneError: There are too many, or they cannot be read.
        """
        contents: dict[str, bytes] = {}
        size_bytes = 0
        try:
            for path in sorted(directory.rglob("*")):
                if path.is_symlink() or not path.is_file():
                    continue
                size_bytes += path.stat().st_size
                if len(contents) >= FILES_MAX or size_bytes > BYTES_MAX:
                    raise DrystoneError(f"{directory} is no console: over {FILES_MAX} files or {BYTES_MAX} bytes")
                contents[path.relative_to(directory).as_posix()] = path.read_bytes()
        except OSError as error:
            raise DrystoneError(f"cannot read the console in {directory}: {error}") from error
        return cls(
            {
                name: _file(name, body, contents.get(name + _GZIP))
                for name, body in contents.items()
                if not (name.endswith(_GZIP) and name.removesuffix(_GZIP) in contents)
            }
        )

    def find(self, path: str) -> File | None:
        """Return what is at a path below `/console/`: a file, or else the page, which knows its own deep links.

        Only a name under `assets/` that is not there is nothing: the page is no script.
        """
        found = self._table.get(path or INDEX)
        if found is None and not path.startswith(ASSETS):
            found = self._table.get(INDEX)
        return found


def _file(name: str, body: bytes, gzipped: bytes | None) -> File:
    if name == INDEX:
        cache_control = "no-store"
    elif name.startswith(ASSETS):
        cache_control = "public, max-age=31536000, immutable"
    else:
        cache_control = "no-cache"
    content_type = _TYPES.get(name[name.rfind(".") :], _OTHER)
    return File(body=body, gzipped=gzipped, content_type=content_type, cache_control=cache_control)
