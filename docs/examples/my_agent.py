"""An agent written outside cosim: go faster where it is allowed and nothing is close ahead, else slow down.

By command:  cosim run scenarios/highway_350vph.yaml --agent driving=cmd:'python docs/examples/my_agent.py'
By name:     cosim run scenarios/highway_350vph.yaml --plugin docs/examples/my_agent.py --agent driving=mine.eager
"""

import numpy as np

from cosim.lockstep import Actions, register_agent, serve

SLOW_DOWN, KEEP, SPEED_UP = 3, 4, 5  # of driving's nine actions, those that keep the lane
HEADWAY = 6  # column of the observation: 50 m / distance to the vehicle ahead


@register_agent("mine.eager")
class Eager:
    """Looks at one number of each vehicle; a learnt policy would look at all 38."""

    def __init__(self, weights=None):
        self.weights = weights  # a pathlib.Path if the user named some: mine.eager:FILE.safetensors

    def reset(self, info):
        self.rng = np.random.default_rng(info.seed)  # draw from this only, and a seed repeats a run

    def act(self, observations):
        n = observations.active  # rows behind the first n have left: no answer for them
        distance = 50.0 / observations.obs[:n, HEADWAY]
        choice = np.where(distance > 30.0, SPEED_UP, np.where(distance < 15.0, SLOW_DOWN, KEEP))
        if observations.mask is not None:
            choice = np.where(observations.mask[np.arange(n), choice], choice, KEEP)
        return Actions(choice, notes={"distance": distance})

    def close(self):
        pass


if __name__ == "__main__":
    serve(Eager())
