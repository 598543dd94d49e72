"""From the scenario's ``links`` to what evaluates them: a cell for each cellular kind, a group for each D2D kind.

Checks here what needs more than one entry: kinds linked twice, antennas too low for a path loss model, D2D kinds that
ask for interference from cells which they share no blocks with.
"""

from __future__ import annotations

from dataclasses import dataclass

from cosim.errors import ScenarioError
from cosim.network.blockage import Buildings
from cosim.network.cellular import Cell
from cosim.network.channel import Channel
from cosim.network.config import LinkConfig, NetworkConfig
from cosim.network.d2d import D2dGroup
from cosim.network.los import LOS_MODELS
from cosim.network.models import PATHLOSS
from cosim.network.stations import CAR_HEIGHT, DEFAULT_HEIGHT, matches
from cosim.traffic.geometry import NetGeometry


@dataclass(slots=True)
class Links:
    """All link kinds.

    ``cells`` with the radio of their vehicles and that of their stations; ``groups`` with the number of the cell
    whose resource blocks they share (None: none); ``bodies`` whether vehicle bodies may block.
    """

    cells: list[tuple[str, str, Cell]]
    groups: list[tuple[D2dGroup, int | None]]
    bodies: bool


def make_links(config: NetworkConfig, geometry: NetGeometry, seed: int, tick_us: int) -> Links:
    """Return the link kinds of a scenario; ScenarioError, with its key, for an entry that does not fit."""
    links = Links([], [], False)
    joined: dict[tuple[str, str], int] = {}
    for i, link in enumerate(config.links):
        pair = link.source, link.to
        if pair in joined:
            text = f"'{pair[0]}' and '{pair[1]}' are linked already, in entry {joined[pair]}"
            raise ScenarioError(text, key=f"network.links.{i}")
        joined[pair] = i
        _check_heights(config, link)
        if not config.is_d2d(link):
            channel = make_channel(config, link, geometry, seed, tick_us)
            cell = Cell(link, channel, config.radios[link.source], config.radios[link.to])
            links.cells.append((link.source, link.to, cell))
        los = LOS_MODELS.get(config.channels[link.channel].los.model)
        links.bodies |= "roofs" in los.needs
    for i, link in enumerate(config.links):
        if config.is_d2d(link):
            channel = make_channel(config, link, geometry, seed, tick_us)
            group = D2dGroup(f"{link.source}-{link.to}", link, config.radios[link.source], channel, seed)
            links.groups.append((group, _cell_of(link, links, f"network.links.{i}.interferers")))
    return links


def make_channel(
    config: NetworkConfig, link: LinkConfig, geometry: NetGeometry, seed: int, tick_us: int
) -> Channel:
    """Return the channel of a link kind, with the buildings that its LOS model asks for."""
    channel = config.channels[link.channel]
    buildings = Buildings([])
    if "walls" in LOS_MODELS.get(channel.los.model).needs:
        globs = [getattr(channel.los.low, "buildings", "building*")]
        buildings = Buildings([p.shape for p in geometry.polygons if matches(p.type, globs)])
    return Channel(link.channel, channel, seed, tick_us, buildings, config.is_d2d(link))


def _check_heights(config: NetworkConfig, link: LinkConfig) -> None:
    """Refuse antennas that are lower than a path loss model can take."""
    choice = config.channels[link.channel].pathloss
    model = PATHLOSS.get(choice.model)
    for name, given in ((link.source, "h_ut"), (link.to, "h_ut" if config.is_d2d(link) else "h_bs")):
        radio = config.radios[name]
        own = DEFAULT_HEIGHT.get(radio.role, CAR_HEIGHT) if radio.height is None else radio.height.low
        height = getattr(choice.low, given, None) or own
        if height <= model.h_min:
            raise ScenarioError(
                f"path loss '{model.name}' needs antennas higher than {model.h_min:g} m; '{name}' has {height:g} m",
                key=f"network.channels.{link.channel}.pathloss",
            )


def _cell_of(link: LinkConfig, links: Links, key: str) -> int | None:
    """Return the number of the cell whose blocks a D2D kind shares."""
    if not set(link.interferers) - {"d2d"}:
        return None
    for n, (_, _, cell) in enumerate(links.cells):
        rb = cell.rb
        if link.rb and rb and (rb.count, rb.bandwidth) == (link.rb.count, link.rb.bandwidth):
            return n
    raise ScenarioError(
        "no cellular link has the same resource blocks (count and bandwidth), so there is no cellular interference",
        key=key,
    )
