"""Hybrid-MAPPO (Chen et al., arXiv 2306.14683): avatar pre-migration between RSUs with predicted workload, its rivals.

Trajectory prediction: ``predictor_data`` windows, split and box, ``linear`` the simple predictors, ``predictor`` the
LSTM in NumPy, ``predictor_net`` and ``predictor_training`` its torch half, ``predictor_scores`` Table II's measures,
``workload`` what predicted positions say of the RSUs' load (eq 18).

Deciding: ``foresight`` the loads reckoned with, ``deciders`` rules without learning and ``rivals`` their agents,
``acting`` the trained actors in NumPy, ``guide`` the rule they may start from, ``reading`` observations as questions.
``hybrid_mappo`` and ``mappo_ddpg`` are the trained agents, ``config`` and ``recipes`` what can be set of them.

Learning, on tapes: ``playing`` and ``rollout`` play episodes, ``tape_crew`` collects and evaluates for ``cosim
train``, ``nets``, ``critics`` and ``central_state`` are what learns (``sizes``: how wide), ``hybrid_mappo_learner``
and ``mappo_ddpg_learner`` how; ``train_predictor`` is the command that trains predictors.

Items of ``cosim reproduce``: ``reproduce`` lists them, ``contenders`` says who plays, ``reproduce_compared`` with
``compared_tables`` has Fig. 6 and the remote layout, ``reproduce_sweeps`` Figs 7 to 11, ``reproduce_predictor`` Table
II and Fig. 5, ``reproduce_models`` the two latency models.
"""
