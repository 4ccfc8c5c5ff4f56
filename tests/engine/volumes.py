"""Where the tests find a disk's image file, which the product's own code does not name outside `engine.volume`."""

from pathlib import Path

from drystone.domain.ids import DiskId
from drystone.engine.layout import Layout
from drystone.engine.volume import Qcow2Volume, volume_of


def image_of(layout: Layout, disk_id: DiskId) -> Path:
    """Return the image file of a disk."""
    volume = volume_of(layout, disk_id)
    assert isinstance(volume, Qcow2Volume)
    return volume.image
