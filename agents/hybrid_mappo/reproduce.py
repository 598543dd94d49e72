"""What ``cosim reproduce hybrid_mappo`` knows: the paper's table and figures, and what else is claimed, as items."""

from __future__ import annotations

from agents.hybrid_mappo.reproduce_compared import FIG6, REMOTE
from agents.hybrid_mappo.reproduce_models import MODELS
from agents.hybrid_mappo.reproduce_predictor import FIG5, TABLE2
from agents.hybrid_mappo.reproduce_sweeps import ITEMS as SWEEPS
from cosim.experiments.papers import Paper

PAPER = Paper(
    key="hybrid_mappo",
    title="Hybrid-MAPPO: avatar migration with trajectory prediction (Chen et al., arXiv 2306.14683)",
    items=(TABLE2, FIG5, FIG6, *SWEEPS, REMOTE, MODELS),
)
"""The items of ``cosim reproduce hybrid_mappo``.

``reproduce_predictor`` has Table II and Fig. 5, ``reproduce_compared`` Fig. 6 and the remote layout,
``reproduce_sweeps`` Figs 7 to 11, ``reproduce_models`` the two latency models; ``contenders`` knows who is compared and
measures them on tapes.
"""
