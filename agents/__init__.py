"""The papers' algorithms and their rivals, one folder a paper (``tpe_marl``, ``hybrid_mappo``).

``common`` holds what two or more share.

cosim never imports this package: its agents are found by the names in the entry-point group ``cosim.agents``.
"""
