"""Figures that only this paper's items need: topology sets on the road, and rows of heat maps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
from numpy.typing import NDArray

from agents.tpe_marl.topology import NOBODY, SimHash, TopologySet, topology
from cosim.plots.style import COLOURS, FAINT, INK, WIDTH, drawn_in_house_style, finish, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LENGTH, LANES, LANE_WIDTH = 250.0, 4, 3.2
ACCELERATE = 5
_BEFORE_S, _LATER_STEPS = 40.0, 20
_NAMES = {
    "nearest_farthest": "(a) nearest and farthest",
    "two_and_two": "(b) two and two",
    "all": "(c) all others",
}


@dataclass(frozen=True)
class Moment:
    """Who is on the road: ``ids``, observations (n, 38), and with them positions ``s`` (n,) and lanes (n,)."""

    t_s: float
    ids: tuple[str, ...]
    obs: NDArray[np.float32]

    @property
    def s(self) -> NDArray[np.float64]:
        """Positions, m."""
        return self.obs[:, 0].astype(np.float64) * LENGTH

    @property
    def lane(self) -> NDArray[np.float64]:
        """Lanes."""
        return self.obs[:, 1].astype(np.float64)


def moments(seed: int = 1) -> tuple[Moment, Moment]:
    """Return two moments two seconds apart in traffic at 350 veh/h a lane, 100 % CAVs, all of them accelerating."""
    from cosim.envs import parallel_env

    # Everybody accelerates alike, so nobody collides and the moment depends on the demand only.
    env = parallel_env(
        "highway_350vph_cav100",
        ["traffic.variant=uni_noturn", "tasks.driving.episode=10000"],
        warmup=0,
        seed=seed,
    )
    try:
        seen: list[Moment] = []
        observations, _ = env.reset()
        step = 0
        while len(seen) < 2:
            ids = tuple(env.agents)
            step += 1
            due = step > 10 * _BEFORE_S if not seen else step >= 10 * seen[0].t_s + _LATER_STEPS
            if due and (seen or len(ids) >= 8):
                obs = np.stack([observations[name]["observation"] for name in ids])
                seen.append(Moment(step / 10.0, ids, obs))
            observations, *_ = env.step(dict.fromkeys(ids, ACCELERATE))
        return seen[0], seen[1]
    finally:
        env.close()


@drawn_in_house_style
def topology_sets(kinds: Sequence[str], seed: int = 1) -> Figure:
    """Draw whom one CAV's topology sets name, before and two seconds later: a row a set, as the paper's Fig. 8."""
    both = moments(seed)
    staying = [name for name in both[0].ids if name in both[1].ids]
    middle = {name: abs(float(both[0].s[both[0].ids.index(name)]) - LENGTH / 2) for name in staying}
    ego = min(staying, key=lambda name: middle[name])
    figure, axes = new_figure(
        len(kinds), 2, width=WIDTH, height=0.8 + 1.15 * len(kinds), sharex=True, sharey=True
    )
    hash_ = SimHash.random(seed)
    for row, kind in zip(axes, kinds, strict=True):
        assert kind in get_args(TopologySet)
        for ax, moment in zip(row, both, strict=True):
            members = topology(moment.obs, hash_, kind).member  # type: ignore[arg-type]
            at = moment.ids.index(ego)
            _draw_moment(ax, moment, at, [m for m in dict.fromkeys(members[at].tolist()) if m != NOBODY])
        row[0].set_ylabel("lane")
        row[0].set_title(_NAMES[kind], fontsize=8.5)
        row[1].set_title("two seconds later", fontsize=8.5)
    for ax in axes[-1]:
        ax.set_xlabel("position [m]")
    return finish(
        figure,
        title=f"Whom the topology sets of one CAV ({ego}) name, t = {both[0].t_s:g} s",
        note="blue: the CAV; green: the nearest by observation, not by place; orange: the other members",
    )


def _draw_moment(ax: Any, moment: Moment, ego: int, members: Sequence[int]) -> None:
    from matplotlib.patches import Rectangle

    ax.add_patch(Rectangle((0, 0), LENGTH, LANES * LANE_WIDTH, color="#e9ebee", linewidth=0))
    for line in range(1, LANES):
        ax.axhline(line * LANE_WIDTH, color="#9aa2aa", linewidth=0.6, linestyle=(0, (6, 6)))
    middle = (moment.lane + 0.5) * LANE_WIDTH
    near = min(members, key=lambda m: _distance(moment, ego, m), default=None)
    for m in members:
        colour = COLOURS[2] if m == near else COLOURS[1]
        ax.plot(
            [moment.s[ego] - 2.5, moment.s[m] - 2.5],
            [middle[ego], middle[m]],
            color=colour,
            linewidth=1.1,
            zorder=2,
        )
    for k in range(len(moment.ids)):
        colour = COLOURS[0] if k == ego else COLOURS[1] if k in members else FAINT
        ax.add_patch(
            Rectangle(
                (moment.s[k] - 5.0, middle[k] - 0.9), 5.0, 1.8, facecolor=colour, edgecolor=INK, linewidth=0.3
            )
        )
        ax.patches[-1].set_zorder(3)
    ax.set(xlim=(0, LENGTH), ylim=(-0.3, LANES * LANE_WIDTH + 0.3))
    ax.set_yticks(LANE_WIDTH * (np.arange(LANES) + 0.5), [str(lane) for lane in range(LANES)])
    ax.grid(visible=False)


def _distance(moment: Moment, a: int, b: int) -> float:
    return float(np.linalg.norm(moment.obs[a].astype(np.float64) - moment.obs[b]))


@drawn_in_house_style
def heat_map_rows(
    grids: Sequence[Sequence[NDArray[np.int64]]],
    rows: Sequence[str],
    columns: Sequence[str],
    *,
    title: str = "",
    note: str = "",
) -> Figure:
    """Draw counts as heat maps on one logarithmic scale, a row of them for each of *rows*; empty cells stay white."""
    from matplotlib.colors import LogNorm

    figure, axes = new_figure(
        len(rows), len(columns), width=WIDTH, height=1.0 + 1.3 * len(rows), sharex=True, sharey=True
    )
    top = max(int(grid.max()) for row in grids for grid in row)
    for name, row, some in zip(rows, axes, grids, strict=True):
        for ax, grid in zip(row, some, strict=True):
            drawn = ax.imshow(
                np.ma.masked_less_equal(grid.T, 0),
                origin="lower",
                extent=(0, 1, 0, 1),
                interpolation="nearest",
                norm=LogNorm(1, max(top, 2)),
            )
            ax.grid(visible=False)
            ax.set_xticks([0, 1])
            ax.set_yticks([0, 1])
            ax.set_title(f"{np.count_nonzero(grid)} cells", fontsize=8)
        row[0].set_ylabel(f"{name}\ny")
    for ax, name in zip(axes[0], columns, strict=True):
        ax.set_title(f"{name}\n{ax.get_title('left') or ax.get_title()}", fontsize=8)
    for ax in axes[-1]:
        ax.set_xlabel("x")
    figure.colorbar(drawn, ax=axes, shrink=0.9, aspect=25).set_label("samples in a cell")
    return finish(figure, title=title, note=note)
