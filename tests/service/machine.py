"""A machine whose clock can be set wrong."""

from drystone.domain.ids import AccountId
from drystone.objects.contract import StoreTime
from drystone.service.caller import Caller
from drystone.service.upkeep.clock import MachineClocks, SteadyClock
from tests.service.records_world import World, caller, run

HOUR = 3600.0
DAY = 24 * HOUR
YEAR = 365 * DAY


class Machine:
    """Its wall clock is the world's, beside a time since boot that nobody sets."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.up = 1000.0
        self.boot = "boot-1"
        self.store: StoreTime | None = None
        self.start()

    def start(self) -> None:
        """Begin as a server that was just started."""
        clocks = MachineClocks(
            wall=lambda: self.world.now, up=lambda: self.up, boot=self.boot, store=lambda: self.store
        )
        self.steady = SteadyClock.open(self.world.db, clocks)
        run(self.steady.look())

    def passes(self, seconds: float) -> None:
        self.world.now += seconds
        self.up += seconds

    def leaps(self, seconds: float) -> None:
        self.world.now += seconds

    def reboots(self, off_s: float) -> None:
        """Be switched off for so long."""
        self.world.now += off_s
        self.up, self.boot = 20.0, f"{self.boot}+"
        self.start()

    def believed(self) -> bool:
        return run(self.steady.look())

    def confirm(self) -> None:
        run(self.steady.confirm(admin()))


def admin() -> Caller:
    return caller(AccountId("100000000001"), admin=True)
