"""The items of ``cosim reproduce hybrid_mappo``, by what they need.

``contenders`` says who is compared and measures them on tapes.  ``compared`` with ``compared_tables`` has Fig. 6 and
the remote layout, ``sweeps`` Figs 7 to 11, ``prediction`` Table II and Fig. 5, ``models`` the two latency models.
"""
