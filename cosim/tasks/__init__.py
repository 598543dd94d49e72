"""Decision problems: one file or folder each.

``base`` says what a task is to the engine; ``driving`` is lane and speed of every CAV on a highway zone, ``migration``
which RSU gets a share of each vehicle's avatar task in advance, and how much.  A task reads the traffic state (and the
network's) and gives orders; it knows no learning method.
"""

from cosim.tasks.base import Instant, Picture, Taped, Task, TaskContext, TaskEvent, tasks

__all__ = ["Instant", "Picture", "Taped", "Task", "TaskContext", "TaskEvent", "tasks"]
