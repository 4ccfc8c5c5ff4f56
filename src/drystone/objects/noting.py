"""A store whose writer learns which version each new object has."""

from dataclasses import dataclass, field

from drystone.objects.around import Around
from drystone.objects.contract import Parts


@dataclass(frozen=True, slots=True, kw_only=True)
class Noting(Around):
    """An `ObjectStore` over another that notes the version of each new object (S274).

    Attributes:
        versions: By name, of those that have one and where it is known.
    """

    versions: dict[str, str] = field(default_factory=dict)

    def put(self, name: str, data: Parts) -> str | None:
        """Write a new object; see `ObjectStore.put`."""
        version = self.inner.put(name, data)
        if version is not None:
            self.versions[name] = version
        return version
