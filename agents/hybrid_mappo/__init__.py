"""Hybrid-MAPPO (Chen et al., arXiv 2306.14683): avatar pre-migration between RSUs with predicted workload, its rivals.

Trajectory prediction: ``predictor_data`` windows, split and box, ``linear`` the simple predictors, ``predictor`` the
LSTM in NumPy, ``predictor_net`` and ``predictor_training`` its torch half, ``predictor_scores`` Table II's measures,
``workload`` what predicted positions say of the RSUs' load (eq 18).
"""
