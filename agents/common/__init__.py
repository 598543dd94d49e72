"""Agents of no paper (``human``, ``keep_lane``, ``random``, ``rule_based``; ``dqn`` learns) and parts methods share.

Each agent has a module of its own, so that naming one imports that one only (``dqn_learner`` is how ``dqn`` learns,
``fixed`` what doing nothing is). Parts that methods share: ``exploring`` and ``sampling`` choose, ``perceptron`` and
``recurrent_policy`` act in NumPy, ``networks`` and ``recurrent`` are their torch halves, ``replay`` and
``window_memory`` hold experience, ``td`` and ``ppo`` are losses, ``schedules`` change with time, ``trained`` and
``learning`` are what agents of trained weights and learners of networks have in common; ``gaps`` is a guard,
``shipped`` lists the policies that are there.
"""
