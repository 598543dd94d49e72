"""Driving: every CAV in the coordinating zone decides lane and speed, each step (TPE-MARL, sections II to III).

``options`` what a scenario may set; ``zone`` the vehicles in the zone, their neighbours and targets as arrays;
``roster`` who came, left, collided or was removed, step by step; ``observation`` the 38 numbers and the action mask;
``reward`` the environment reward; ``metrics`` the six measures of the paper and two more; ``task`` puts them together.
"""

from cosim.tasks.driving.options import DrivingOptions
from cosim.tasks.driving.task import DrivingTask

__all__ = ["DrivingOptions", "DrivingTask"]
