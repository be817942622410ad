"""The whole contract: every topic, for a native store."""

from pystator.testing.archive import ArchiveContract
from pystator.testing.basic import BasicContract
from pystator.testing.choosing import ChoosingContract
from pystator.testing.commits import CommitsContract
from pystator.testing.concurrency import ConcurrencyContract
from pystator.testing.conditional import ConditionalContract
from pystator.testing.configurations import ConfigurationsContract, HistoryStatesContract
from pystator.testing.connections import ConnectionsContract
from pystator.testing.definitions import MachineStoreContract
from pystator.testing.feed import FeedContract
from pystator.testing.history import HistoryContract
from pystator.testing.idempotency import IdempotencyContract
from pystator.testing.limits import LimitsContract
from pystator.testing.lost_answers import LostAnswersContract
from pystator.testing.machines import MachinesContract
from pystator.testing.ordering import LinearizabilityContract
from pystator.testing.queries import QueriesContract
from pystator.testing.reconnect import ReconnectContract
from pystator.testing.restoring import RestoreContract
from pystator.testing.retention import RetentionContract
from pystator.testing.statecharts import StatechartsContract
from pystator.testing.states import StatesContract
from pystator.testing.timers import TimersContract
from pystator.testing.values import ValuesContract
from pystator.testing.versions import VersionsContract

__all__ = ["StoreContract"]


class StoreContract(
    BasicContract,
    StatesContract,
    VersionsContract,
    CommitsContract,
    HistoryContract,
    IdempotencyContract,
    ValuesContract,
    QueriesContract,
    ConfigurationsContract,
    HistoryStatesContract,
    StatechartsContract,
    ConditionalContract,
    TimersContract,
    FeedContract,
    ChoosingContract,
    ArchiveContract,
    RetentionContract,
    RestoreContract,
    MachineStoreContract,
    ConcurrencyContract,
    ConnectionsContract,
    LimitsContract,
    MachinesContract,
    LostAnswersContract,
    ReconnectContract,
    LinearizabilityContract,
):
    """Subclass it, name the class ``Test...``, and give it ``make_store(path)``."""
