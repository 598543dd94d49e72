"""What a package with models of its own imports: the decorators that register them, and what they are given.

Each is used as ``@pathloss("name", params=MyParams)`` on a pure function; the name can then stand in a scenario.  A
package announces its module in the entry-point group ``cosim.channels``; a single file is named with ``--plugin``.
See ``docs/network.md`` for the arguments of each kind.
"""

from cosim.network.allocation import Request, allocator
from cosim.network.association import Measured, association
from cosim.network.fading import fading
from cosim.network.geo import LOS, NLOS, NLOSV, Geo
from cosim.network.los import LosInput, los, los_law
from cosim.network.models import FreeParams, Params, RadioParams, pathloss
from cosim.network.queues import Work, discipline
from cosim.network.randomness import Draws

__all__ = [
    "LOS",
    "NLOS",
    "NLOSV",
    "Draws",
    "FreeParams",
    "Geo",
    "LosInput",
    "Measured",
    "Params",
    "RadioParams",
    "Request",
    "Work",
    "allocator",
    "association",
    "discipline",
    "fading",
    "los",
    "los_law",
    "pathloss",
]
