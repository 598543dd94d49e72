"""Trajectory prediction (Fig. 2, section V, Table II): where a vehicle is a moment ahead, from twelve past positions.

At work, NumPy only: ``lstm`` the coverage-aware LSTM, ``linear`` the predictors without a network (the vehicle stays,
constant velocity, autoregression), ``files`` any of them by name or file.  Learning: ``data`` positions as windows,
their split and box, ``net`` the LSTM in torch, ``training`` how it learns, ``scores`` Table II's measures.
The command is ``python -m agents.hybrid_mappo.train_predictor``; :mod:`agents.hybrid_mappo.workload` makes workload of
what is predicted.
"""

from agents.hybrid_mappo.predictor.files import FOLDER, Predictor, ar_bytes, load, lstm_bytes
from agents.hybrid_mappo.predictor.linear import LinearAr, constant_velocity, persistence
from agents.hybrid_mappo.predictor.lstm import Frame, Lstm

__all__ = [
    "FOLDER",
    "Frame",
    "LinearAr",
    "Lstm",
    "Predictor",
    "ar_bytes",
    "constant_velocity",
    "load",
    "lstm_bytes",
    "persistence",
]
