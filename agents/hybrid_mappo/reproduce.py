"""What ``cosim reproduce hybrid_mappo`` knows: the paper's table and figures, and what else is claimed, as items."""

from __future__ import annotations

from agents.hybrid_mappo.items.compared import FIG6, REMOTE
from agents.hybrid_mappo.items.models import MODELS
from agents.hybrid_mappo.items.prediction import FIG5, TABLE2
from agents.hybrid_mappo.items.sweeps import ITEMS as SWEEPS
from cosim.experiments.papers import Paper

PAPER = Paper(
    key="hybrid_mappo",
    title="Hybrid-MAPPO: avatar migration with trajectory prediction (Chen et al., arXiv 2306.14683)",
    items=(TABLE2, FIG5, FIG6, *SWEEPS, REMOTE, MODELS),
)
