"""What ``cosim reproduce tpe_marl`` knows: the paper's figures, and what else is claimed, as items."""

from __future__ import annotations

from agents.tpe_marl.items.close_ups import FIG14, FIG15, FIG16
from agents.tpe_marl.items.diversity import FIG12
from agents.tpe_marl.items.fixed import FIG13_HDV, FIXED_POLICIES, HDV_VARIANTS
from agents.tpe_marl.items.grid import FIG13
from agents.tpe_marl.items.methods import METHODS_ITEM
from agents.tpe_marl.items.safety import SAFETY
from agents.tpe_marl.items.training import FIG9, FIG11
from cosim.experiments.papers import Paper

PAPER = Paper(
    key="tpe_marl",
    title="TPE-MARL: topology-enhanced QMIX for CAVs in mixed traffic (Han et al., arXiv 2507.12110)",
    items=(
        FIG13_HDV,
        HDV_VARIANTS,
        FIXED_POLICIES,
        FIG9,
        FIG11,
        FIG12,
        FIG13,
        FIG14,
        FIG15,
        FIG16,
        SAFETY,
        METHODS_ITEM,
    ),
)
