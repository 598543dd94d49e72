"""Train two agents on one task, then let them drive the same unseen traffic beside the rule-based one.

python docs/examples/train_and_compare.py [STEPS]
"""

import sys
from pathlib import Path

import cosim

HERE = Path(__file__).parent
SCENARIO = "highway_350vph_cav100"
SETTINGS = ["traffic.variant=uni_noturn"]


def main() -> None:
    """Train, drive, and print one line an agent."""
    steps = int(sys.argv[1]) if len(sys.argv) > 1 else 15_000
    options = cosim.TrainOptions(plugins=[str(HERE / "my_learner.py")])
    agents = ["common.rule_based"]
    for method in ("common.dqn", "mine.table"):
        trained = cosim.train(SCENARIO, method, options, overrides=SETTINGS, steps=steps, workers=2)
        if trained.error is not None:
            raise trained.error
        agents.append(f"{method}:{trained.policy}")
    print(f"{'agent':20} {'success':>8} {'speed':>10} {'collided/h':>11}")
    for agent in agents:
        run = cosim.run(
            SCENARIO,
            cosim.RunOptions(agents=[agent], inline=True),
            seed=7,
            overrides=[*SETTINGS, "duration=10 min"],
        )
        success, speed, collided = (
            run.metrics[name] or 0.0 for name in ("success_rate", "avg_velocity", "collisions_per_hour")
        )
        print(f"{agent.partition(':')[0]:20} {success:8.1%} {3.6 * speed:5.1f} km/h {collided:11.0f}")


if __name__ == "__main__":
    main()
