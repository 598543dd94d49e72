"""Hybrid-MAPPO (Chen et al., arXiv 2306.14683): avatar pre-migration between RSUs with predicted workload, its rivals.

Trajectory prediction: ``predictor`` knows where vehicles will be, ``workload`` what that says of the RSUs' load
(eq 18); ``train_predictor`` is the command that trains predictors.

Deciding: ``foresight`` the loads reckoned with, ``deciders`` rules without learning and ``rivals`` their agents,
``acting`` the trained actors in NumPy, ``guide`` the rule they may start from, ``reading`` observations as questions.
``hybrid_mappo`` and ``mappo_ddpg`` are the trained agents, ``config`` and ``recipes`` what can be set of them.

Learning, on tapes: ``playing`` and ``rollout`` play episodes, ``tape_crew`` collects and evaluates for ``cosim
train``, ``nets``, ``critics`` and ``central_state`` are what learns (``sizes``: how wide), ``hybrid_mappo_learner``
and ``mappo_ddpg_learner`` how.  ``reproduce`` lists the paper's items, ``items`` makes them.
"""
