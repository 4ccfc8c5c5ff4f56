"""Live disks under qemu-storage-daemon (floor 2)."""
